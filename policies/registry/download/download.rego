# METADATA
# title: Download
# description: May this person have the bytes of this version, through this door?
# scope: package
# custom:
#   gate: download
package registry.download

import data.registry.config
import data.registry.lib
import data.registry.relief

default allow := false

allow if lib.all_pass(relief.counting(checks, relieved))

# what no mode relaxes and no waiver covers
always := {"DLD-001", "DLD-002", "DLD-005"}

relieved := relief.given(input, checks, always)

# withdrawn bytes are for nobody, released ones for all, the others for those who work on them
checks := {"DLD-001": false} if {
	input.subject.stage in {"Quarantined", "Revoked"}
} else := {
	"DLD-001": lib.not_blocked(input),
	"DLD-002": door_known,
	"DLD-003": lib.passed(input, "signature"),
	"DLD-004": lib.policy_accepted(input),
	"DLD-005": lib.digest_known(input),
} if {
	input.subject.stage in config.deployable_stages
} else := {
	"DLD-001": lib.not_blocked(input),
	"DLD-002": door_open,
	"DLD-005": lib.digest_known(input),
}

default door_known := false

door_known if input.action.door in {"registry", "artifact"}

default door_open := false

door_open if {
	door_known
	input.subject.stage in config.evaluation_stages
	lib.has_role(input, config.evaluation_roles)
}

# the author keeps access to the artifacts of the run, not to the version in the catalogue
door_open if {
	input.action.door == "artifact"
	input.subject.stage in config.evaluation_stages
	lib.identity(input.subject.submitter) != ""
	lib.identity(input.actor.id) == lib.identity(input.subject.submitter)
}

# the texts are made where there is something to tell
told := {"reasons": [], "shadow": [], "warnings": set()} if {
	allow
	relieved.idle
} else := relief.told(input, checks, relieved, texts)

texts := {
	"DLD-001": {
		"path": "subject.blocked",
		"message": "these bytes are revoked or quarantined, under this or another name",
		"fix": "use another version; if quarantined by mistake: mlflow-governance restore {name}/{version} --reason WHY",
	},
	"DLD-002": {
		"path": "subject.stage",
		"message": "a version in stage {stage} is not served to {actor}",
		"fix": "see what release still needs: mlflow-governance judge {name}/{version}",
	},
	"DLD-003": {
		"path": "evidence.signature",
		"message": "no trusted signature covers every file of the model",
		"fix": "its files are read-only past None: mlflow-governance submit runs:/RUN/model --name {name} --key KEY.pem",
	},
	"DLD-004": {
		"path": "subject.policy_digest",
		"message": "the version was released under a policy that is no longer accepted",
		"fix": "mlflow-governance judge {name}/{version}",
	},
	"DLD-005": {
		"path": "subject.digest",
		"message": "the digest of the model is unknown: its files are not hashed yet, or could not be",
		"fix": "mlflow-governance judge {name}/{version}",
	},
}

warnings contains {"code": "DLD-101", "message": "the version is deprecated; move to a newer one"} if {
	input.subject.stage == "Deprecated"
}

obligations contains {"type": "verify_digest", "digest": input.subject.digest} if allow

# METADATA
# title: The decision of the download gate
# entrypoint: true
decision := {
	"gate": "download",
	"allow": allow,
	"checks": checks,
	"modes": relieved.modes,
	"waived": relieved.waived,
	"shadow": told.shadow,
	"reasons": told.reasons,
	"warnings": (warnings | told.warnings),
	"obligations": obligations,
	"details": {},
}
