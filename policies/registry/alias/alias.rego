# METADATA
# title: Aliases
# description: May this alias point at this version, or be taken away?
# scope: package
# custom:
#   gate: alias
package registry.alias

import data.registry.config
import data.registry.lib
import data.registry.library
import data.registry.relief

default allow := false

allow if lib.all_pass(relief.counting(checks, relieved))

# what no mode relaxes and no waiver covers
always := {"ALI-001", "ALI-002"}

relieved := relief.given(input, checks, always)

checks := shipped if {
	config.library == {}
} else := object.union(shipped, library.checks(input, "alias"))

# deleting is said by an explicit null; anything else points the alias at the subject
shipped := {
	"ALI-001": alias_named,
	"ALI-004": authenticated_if_protected,
	"ALI-005": role_held,
} if {
	input.action.to_version == null
} else := {
	"ALI-001": alias_named,
	"ALI-002": lib.not_blocked(input),
	"ALI-003": stage_fits,
	"ALI-004": authenticated_if_protected,
	"ALI-005": role_held,
}

default alias_named := false

alias_named if {
	is_string(input.action.alias)
	input.action.alias != ""
}

# aliases are one whatever their case, and so are the patterns
rules := [rule |
	alias_named
	is_array(config.alias_rules)
	some rule in config.alias_rules
	some pattern in rule.aliases
	glob.match(lower(pattern), ["/"], lower(input.action.alias))
]

default protected := false

protected if count(rules) > 0

default unprotected := false

unprotected if {
	alias_named
	not protected
}

default stage_fits := false

stage_fits if {
	is_array(config.alias_rules)
	input.subject.stage in {"None", "Candidate", "Staging", "Approved", "Deprecated"}
	every rule in rules {
		input.subject.stage in rule.stages
	}
}

default role_held := false

role_held if {
	is_array(config.alias_rules)
	every rule in rules {
		open_to_actor(rule)
	}
}

default open_to_actor(_) := false

open_to_actor(rule) if count(rule.roles) == 0

open_to_actor(rule) if lib.has_role(input, rule.roles)

default authenticated_if_protected := false

authenticated_if_protected if lib.authenticated(input)

authenticated_if_protected if unprotected

# the texts are made where there is something to tell
told := {"reasons": [], "shadow": [], "warnings": set()} if {
	allow
	relieved.idle
} else := relief.told(input, checks, relieved, said)

said := object.union(texts, library.texts(input, "alias"))

allowed_stages := [stage |
	some stage in ["None", "Candidate", "Staging", "Approved", "Deprecated"]
	protected
	every rule in rules {
		stage in rule.stages
	}
]

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
		"message": concat("", ["a version in stage {stage} cannot carry this alias", lib.listing("; it names one in ", allowed_stages)]),
		"fix": "see what release still needs: mlflow-governance judge {name}/{version}",
	},
	"ALI-005": {
		"path": "actor.roles",
		"message": concat("", ["{actor} has none of the roles that may move this alias", lib.listing(": ", [role | some rule in rules; some role in rule.roles])]),
		"fix": "ask somebody with one of these roles",
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
	"shadow": told.shadow,
	"reasons": told.reasons,
	"warnings": told.warnings,
	"obligations": set(),
	"details": {"protected": protected},
}
