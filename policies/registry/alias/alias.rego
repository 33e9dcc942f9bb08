# METADATA
# title: Aliases
# description: May this alias point at this version, or be taken away?
# scope: package
# custom:
#   gate: alias
package registry.alias

import data.registry.config
import data.registry.lib
import data.registry.relief

default allow := false

allow if lib.all_pass(relief.counting(checks, relieved))

# what no mode relaxes and no waiver covers
always := {"ALI-001", "ALI-002"}

relieved := relief.given(input, checks, always)

# deleting is said by an explicit null; anything else points the alias at the subject
checks := {
	"ALI-001": alias_named,
	"ALI-004": authenticated_if_protected,
} if {
	input.action.to_version == null
} else := {
	"ALI-001": alias_named,
	"ALI-002": lib.not_blocked(input),
	"ALI-003": stage_fits,
	"ALI-004": authenticated_if_protected,
}

default alias_named := false

alias_named if {
	is_string(input.action.alias)
	input.action.alias != ""
}

default protected := false

protected if {
	alias_named
	some pattern in config.protected_aliases
	glob.match(pattern, ["/"], lower(input.action.alias))
}

default unprotected := false

unprotected if {
	alias_named
	not protected
}

default stage_fits := false

stage_fits if input.subject.stage == "Approved"

stage_fits if {
	unprotected
	input.subject.stage in {"None", "Candidate", "Staging", "Deprecated"}
}

default authenticated_if_protected := false

authenticated_if_protected if lib.authenticated(input)

authenticated_if_protected if unprotected

reasons := [] if {
	allow
} else := lib.reasons(relief.counting(checks, relieved), texts)

# a failed check in warn mode is told, one in shadow mode is only recorded; most bundles have neither
noted := relief.waiver_warnings(input) if {
	count(relieved.modes) == 0
} else := {told | some told in relief.would_say("warn", checks, texts, relieved)} | relief.waiver_warnings(input)

shadow := [] if {
	count(relieved.modes) == 0
} else := relief.would_say("shadow", checks, texts, relieved)

texts := {
	"ALI-001": {
		"path": "action.alias",
		"message": "the request names no alias",
		"fix": "name the alias",
	},
	"ALI-002": {
		"path": "subject.blocked",
		"message": "these bytes are revoked or quarantined, under this or another name",
		"fix": "point the alias at another version",
	},
	"ALI-003": {
		"path": "subject.stage",
		"message": "a version in stage {stage} cannot carry this alias; a protected alias names an Approved one",
		"fix": "see what release still needs: mlflow-governance judge {name}/{version}",
	},
	"ALI-004": {
		"path": "actor.authenticated",
		"message": "a protected alias needs a known person and nobody is logged in",
		"fix": "log in (MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD), then ask again",
	},
}

# METADATA
# title: The decision of the alias gate
# entrypoint: true
decision := {
	"gate": "alias",
	"allow": allow,
	"checks": checks,
	"modes": relieved.modes,
	"waived": relieved.waived,
	"shadow": shadow,
	"reasons": reasons,
	"warnings": noted,
	"obligations": set(),
	"details": {"protected": protected},
}
