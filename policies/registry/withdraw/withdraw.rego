# METADATA
# title: Withdrawal
# description: May a version be revoked, quarantined, or returned from quarantine?
# scope: package
# custom:
#   gate: withdraw
package registry.withdraw

import data.registry.config
import data.registry.lib

default allow := false

# withdrawing is what nothing may relax: no modes, no waivers
allow if lib.all_pass(checks)

checks := {
	"WDR-001": transition_exists,
	"WDR-002": lib.stage_as_stated(input),
	"WDR-003": reason_given,
	"WDR-004": lib.authenticated(input),
	"WDR-005": authority,
}

default transition_exists := false

transition_exists if {
	input.action.to == "Revoked"
	input.action.from in {"None", "Candidate", "Staging", "Approved", "Deprecated", "Quarantined"}
}

transition_exists if {
	input.action.to == "Quarantined"
	input.action.from in {"None", "Candidate", "Staging", "Approved", "Deprecated"}
}

transition_exists if restoring

default restoring := false

restoring if {
	input.action.from == "Quarantined"
	input.action.to == input.subject.quarantined_from
	input.action.to in {"None", "Candidate", "Staging", "Approved", "Deprecated"}
}

default withdrawing := false

withdrawing if input.action.to in {"Quarantined", "Revoked"}

default reason_given := false

reason_given if {
	is_string(input.action.reason)
	trim_space(input.action.reason) != ""
}

default authority := false

# withdrawing makes the world safer, so many may; restoring does not, so few may
authority if {
	withdrawing
	lib.has_role(input, config.withdraw_roles)
}

authority if {
	withdrawing
	input.actor.admin == true
}

authority if {
	restoring
	lib.has_role(input, config.restore_roles)
}

reasons := [] if {
	allow
} else := lib.reasons(checks, texts)

texts := {
	"WDR-001": {
		"path": "action.to",
		"message": "the life cycle has no such step; Revoked is for ever, and quarantine ends where it began",
		"fix": "for a version cleared of suspicion: mlflow-governance restore {name}/{version} --reason WHY",
	},
	"WDR-002": {
		"path": "subject.stage",
		"message": "the version stands in another stage than the request says",
		"fix": "look at the present stage, then ask again",
	},
	"WDR-003": {
		"path": "action.reason",
		"message": "no reason was given",
		"fix": concat("", ["mlflow-governance ", verb, " {name}/{version} --reason WHY"]),
	},
	"WDR-004": {
		"path": "actor.authenticated",
		"message": "going to {to} needs a known person and nobody is logged in",
		"fix": "log in (MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD), then ask again",
	},
	"WDR-005": {
		"path": "actor.roles",
		"message": concat("", ["{actor} has none of the roles that may do this: ", concat(", ", authorised_roles)]),
		"fix": concat("", ["ask one of them to run: mlflow-governance ", verb, " {name}/{version} --reason WHY"]),
	},
}

default verb := "restore"

verb := "revoke" if input.action.to == "Revoked"

verb := "quarantine" if input.action.to == "Quarantined"

authorised_roles := config.withdraw_roles if {
	withdrawing
} else := config.restore_roles

# METADATA
# title: The decision of the withdraw gate
# entrypoint: true
decision := {
	"gate": "withdraw",
	"allow": allow,
	"checks": checks,
	"modes": {},
	"waived": [],
	"shadow": [],
	"reasons": reasons,
	"warnings": set(),
	"obligations": set(),
	"details": {},
}
