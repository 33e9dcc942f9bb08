# METADATA
# title: Promotion
# description: May a version go one stage further (Candidate, Staging, Approved, Deprecated)?
# scope: package
# custom:
#   gate: promote
package registry.promote

import data.registry.code
import data.registry.config
import data.registry.lib
import data.registry.library
import data.registry.licences
import data.registry.relief
import data.registry.risk
import data.registry.vulnerabilities

default allow := false

allow if lib.all_pass(relief.counting(checks, relieved))

# what no mode relaxes and no waiver covers
always := {"PRO-001", "PRO-002", "PRO-005", "PRO-006", "PRO-013"}

relieved := relief.given(input, checks, always)

# what is asked grows with what is at stake; an unknown target fails PRO-001
# whoever retires a version is not stopped, but what is judged again is still handed out
checks := object.union(retirement, {"PRO-008": vulnerabilities.acceptable(input, blocking)}) if {
	input.action.to == "Deprecated"
	lib.judged_again(input)
} else := retirement if {
	input.action.to == "Deprecated"
} else := shipped if {
	config.required_evidence == {}
	config.library == {}
} else := object.union(object.remove(shipped, lib.unasked(step, evidenced)), library.checks(input, step))

shipped := object.union(staging, release) if {
	releasing
} else := staging

default step := "staging"

step := "release" if releasing

# the checks that required_evidence may leave out
evidenced := {
	"signature": "PRO-003",
	"provenance": "PRO-004",
	"canary": "PRO-007",
	"vulnerabilities": "PRO-008",
	"model_card": "PRO-009",
	"malware": "PRO-014",
	"licences": "PRO-015",
	"layout": "PRO-016",
}

retirement := {
	"PRO-001": transition_exists,
	"PRO-002": lib.stage_as_stated(input),
	"PRO-013": lib.authenticated(input),
}

# served from here on: what was accepted under older rules is judged by those of today first
staging := {
	"PRO-001": transition_exists,
	"PRO-002": lib.stage_as_stated(input),
	"PRO-003": lib.passed(input, "signature"),
	"PRO-004": lib.passed(input, "provenance"),
	"PRO-005": lib.not_blocked(input),
	"PRO-006": lib.digest_known(input),
	"PRO-008": vulnerabilities.acceptable(input, blocking),
	"PRO-010": policy_bound,
	"PRO-014": code.acceptable(input, code_waivers),
}

release := {
	"PRO-007": canary_proceeds,
	"PRO-009": lib.model_card_complete(input),
	"PRO-011": tier_known,
	"PRO-012": approvals_sufficient,
	"PRO-013": lib.authenticated(input),
	"PRO-015": licences.acceptable(input, clashing),
	"PRO-016": lib.layout_acceptable(input),
}

onward := {"Candidate": "Staging", "Staging": "Approved", "Approved": "Deprecated"}

default transition_exists := false

transition_exists if onward[input.action.from] == input.action.to

default canary_proceeds := false

canary_proceeds if {
	lib.passed(input, "canary")
	input.evidence.canary.facts.result == "PROCEED"
}

default policy_bound := false

policy_bound if lib.policy_accepted(input)

# judged again, the version leaves its old policy for the one in force
policy_bound if {
	lib.judged_again(input)
	lib.well_formed(input.subject.policy_digest)
}

declared := risk.declared(input)

floor := risk.floor(input)

tier := risk.strictest([declared, floor])

quorum := risk.quorum(tier)

approvers := risk.approvers(input, quorum)

waivers := vulnerabilities.waivers(input)

code_waivers := code.waivers(input)

licence_waivers := licences.waivers(input)

clashing := licences.blocking(input, licence_waivers)

blocking := vulnerabilities.blocking(input, waivers)

default tier_known := false

tier_known if declared in {"low", "medium", "high"}

default approvals_sufficient := false

approvals_sufficient if {
	tier_known
	risk.sufficient(quorum, approvers)
}

releasing if input.action.to == "Approved"

weighing if "PRO-008" in object.keys(checks)

# the texts are made where there is something to tell
told := {"reasons": [], "shadow": [], "warnings": set()} if {
	allow
	relieved.idle
} else := relief.told(input, checks, relieved, said)

said := object.union(texts, library.texts(input, step))

texts := {
	"PRO-001": {
		"path": "action.to",
		"message": "the life cycle has no such step; it goes Candidate, Staging, Approved, Deprecated",
		"fix": "ask for the stage that follows the present one",
	},
	"PRO-002": {
		"path": "subject.stage",
		"message": "the version stands in another stage than the request says",
		"fix": "look at the present stage, then ask again",
	},
	"PRO-003": {
		"path": "evidence.signature",
		"message": "no trusted signature covers every file of the model",
		"fix": "its files are read-only past None: mlflow-governance submit runs:/RUN/model --name {name} --key KEY.pem",
	},
	"PRO-004": {
		"path": "evidence.provenance",
		"message": "no trusted provenance says how the model was built",
		"fix": "its files are read-only past None: mlflow-governance submit runs:/RUN/model --name {name} --key KEY.pem",
	},
	"PRO-005": {
		"path": "subject.blocked",
		"message": "these bytes are revoked or quarantined, under this or another name",
		"fix": "register different bytes; if quarantined by mistake: mlflow-governance restore {name}/{version} --reason WHY",
	},
	"PRO-006": {
		"path": "subject.digest",
		"message": "the digest of the model is unknown: its files are not hashed yet, or could not be",
		"fix": "mlflow-governance judge {name}/{version}",
	},
	"PRO-007": {
		"path": "evidence.canary",
		"message": "no signed canary result says PROCEED for this digest",
		"fix": "mlflow-governance attest {name}/{version} canary --result PROCEED --key KEY.pem",
	},
	"PRO-008": {
		"path": "evidence.vulnerabilities",
		"message": vulnerabilities.problem(blocking),
		"fix": "its files are read-only past None: mlflow-governance submit runs:/RUN/model --name {name} --key KEY.pem",
	},
	"PRO-009": {
		"path": "evidence.model_card",
		"message": lib.card_problem(input),
		"fix": "its files are read-only past None: mlflow-governance submit runs:/RUN/model --name {name} --model-card model_card.yaml --key KEY.pem",
	},
	"PRO-010": {
		"path": "subject.policy_digest",
		"message": "the version was judged under a policy that is no longer accepted, or under none",
		"fix": "mlflow-governance judge {name}/{version}",
	},
	"PRO-011": {
		"path": "evidence.model_card.facts.risk_tier",
		"message": "no signed model card declares the risk tier low, medium or high",
		"fix": "its files are read-only past None: mlflow-governance submit runs:/RUN/model --name {name} --model-card model_card.yaml --key KEY.pem",
	},
	"PRO-012": {
		"path": "approvals",
		"message": risk.problem(tier, quorum, risk.lacking(quorum, approvers)),
		"fix": risk.fix(quorum, risk.lacking(quorum, approvers)),
	},
	"PRO-013": {
		"path": "actor.authenticated",
		"message": "going to {to} needs a known person and nobody is logged in",
		"fix": "log in (MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD), then ask again",
	},
	"PRO-014": {
		"path": "evidence.malware",
		"message": code.problem(input),
		"fix": "its files are read-only past None: log it in a format without code (skops, safetensors, ONNX), or have security name its builder in code_builders, or the files in code_waivers (data.json)",
	},
	"PRO-015": {
		"path": "evidence.licences",
		"message": licences.problem(clashing),
		"fix": "have security waive it in data.json, or submit a model without what clashes: mlflow-governance submit runs:/RUN/model --name {name} --key KEY.pem",
	},
	"PRO-016": {
		"path": "evidence.layout",
		"message": "the steps that made the model are not proved by a layout and its links",
		"fix": "its files are read-only past None: mlflow-governance submit runs:/RUN/model --name {name} --layout FOLDER --key KEY.pem",
	},
}

default obligations := set()

obligations := (vulnerabilities.obligations(input, waivers) | licences.obligations(input, licence_waivers)) | code.obligations(input, code_waivers) if {
	releasing
} else := vulnerabilities.obligations(input, waivers) | code.obligations(input, code_waivers) if {
	weighing
}

default warnings := set()

warnings := (vulnerabilities.warnings(waivers) | licences.warnings(licence_waivers)) | code.warnings(code_waivers) if {
	releasing
} else := vulnerabilities.warnings(waivers) | code.warnings(code_waivers) if {
	weighing
}

default details := {}

details := {
	"tier": tier,
	"declared": declared,
	"floor": floor,
	"approvers": approvers,
	"lacking": risk.lacking(quorum, approvers),
	"blocking_vulnerabilities": vulnerabilities.names(blocking),
} if {
	releasing
} else := {"blocking_vulnerabilities": vulnerabilities.names(blocking)} if {
	weighing
}

# METADATA
# title: The decision of the promote gate
# entrypoint: true
decision := {
	"gate": "promote",
	"allow": allow,
	"checks": checks,
	"modes": relieved.modes,
	"waived": relieved.waived,
	"shadow": told.shadow,
	"reasons": told.reasons,
	"warnings": (warnings | told.warnings),
	"obligations": obligations,
	"details": details,
}
