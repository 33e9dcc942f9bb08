# METADATA
# title: Acceptance
# description: May a registered version enter the catalogue (None to Candidate)?
# scope: package
# custom:
#   gate: accept
package registry.accept

import data.registry.code
import data.registry.config
import data.registry.lib
import data.registry.library
import data.registry.licences
import data.registry.relief
import data.registry.vulnerabilities

default allow := false

allow if lib.all_pass(relief.counting(checks, relieved))

# what no mode relaxes and no waiver covers
always := {"ACC-008", "ACC-009", "ACC-010"}

relieved := relief.given(input, checks, always)

# most organisations ask what ships
checks := shipped if {
	config.required_evidence == {}
	config.library == {}
} else := object.union(object.remove(shipped, lib.unasked("accept", evidenced)), library.checks(input, "accept"))

# the checks that required_evidence may leave out
evidenced := {
	"test_result": "ACC-001",
	"signature": "ACC-002",
	"provenance": "ACC-003",
	"sbom": "ACC-004",
	"vulnerabilities": "ACC-005",
	"model_card": "ACC-006",
	"dataset": "ACC-007",
	"malware": "ACC-011",
	"licences": "ACC-012",
	"layout": "ACC-013",
}

shipped := {
	"ACC-001": tests_passed,
	"ACC-002": lib.passed(input, "signature"),
	"ACC-003": lib.passed(input, "provenance"),
	"ACC-004": lib.sbom_sound(input),
	"ACC-005": vulnerabilities.acceptable(input, blocking),
	"ACC-006": lib.model_card_complete(input),
	"ACC-007": lib.passed(input, "dataset"),
	"ACC-008": lib.digest_known(input),
	"ACC-009": lib.not_blocked(input),
	"ACC-010": stage_fits,
	"ACC-011": code.acceptable(input, code_waivers),
	"ACC-012": licences.acceptable(input, clashing),
	"ACC-013": lib.layout_acceptable(input),
}

default tests_passed := false

tests_passed if {
	lib.passed(input, "test_result")
	input.evidence.test_result.facts.result == "PASSED"
}

default stage_fits := false

stage_fits if {
	input.action.from == "None"
	input.action.to == "Candidate"
	lib.stage_as_stated(input)
}

waivers := vulnerabilities.waivers(input)

code_waivers := code.waivers(input)

licence_waivers := licences.waivers(input)

clashing := licences.blocking(input, licence_waivers)

blocking := vulnerabilities.blocking(input, waivers)

# the texts are made where there is something to tell
told := {"reasons": [], "shadow": [], "warnings": set()} if {
	allow
	relieved.idle
} else := relief.told(input, checks, relieved, said)

said := object.union(texts, library.texts(input, "accept"))

texts := {
	"ACC-001": {
		"path": "evidence.test_result",
		"message": concat("", [
			"no signed test result says PASSED for this digest",
			lib.listing("; failed are ", [t | some t in lib.array_or_empty(input.evidence.test_result.facts.failed_tests)]),
		]),
		"fix": "mlflow-governance attest {name}/{version} test-result --result PASSED --key KEY.pem",
	},
	"ACC-002": {
		"path": "evidence.signature",
		"message": "no trusted signature covers every file of the model",
		"fix": "mlflow-governance submit models:/{name}/{version} --key KEY.pem",
	},
	"ACC-003": {
		"path": "evidence.provenance",
		"message": "no trusted provenance says how the model was built",
		"fix": "mlflow-governance submit models:/{name}/{version} --key KEY.pem",
	},
	"ACC-004": {
		"path": "evidence.sbom",
		"message": concat("", [
			"no signed SBOM lists the model's components as its pins have them",
			lib.listing("; it cannot name ", lib.unresolved(input)),
		]),
		"fix": "mlflow-governance submit models:/{name}/{version} --key KEY.pem",
	},
	"ACC-005": {
		"path": "evidence.vulnerabilities",
		"message": vulnerabilities.problem(blocking),
		"fix": "mlflow-governance submit models:/{name}/{version} --key KEY.pem",
	},
	"ACC-006": {
		"path": "evidence.model_card",
		"message": lib.card_problem(input),
		"fix": "mlflow-governance submit models:/{name}/{version} --model-card model_card.yaml --key KEY.pem",
	},
	"ACC-007": {
		"path": "evidence.dataset",
		"message": "no signed statement names the data the model was trained on",
		"fix": "mlflow-governance submit models:/{name}/{version} --dataset FILE --key KEY.pem",
	},
	"ACC-008": {
		"path": "subject.digest",
		"message": "the digest of the model is unknown: its files are not hashed yet, or could not be",
		"fix": "mlflow-governance judge {name}/{version}",
	},
	"ACC-009": {
		"path": "subject.blocked",
		"message": "these bytes are revoked or quarantined, under this or another name",
		"fix": "register different bytes; if quarantined by mistake: mlflow-governance restore {name}/{version} --reason WHY",
	},
	"ACC-010": {
		"path": "subject.stage",
		"message": "acceptance leads from None to Candidate and the version stands elsewhere",
		"fix": "mlflow-governance judge {name}/{version}",
	},
	"ACC-011": {
		"path": "evidence.malware",
		"message": code.problem(input),
		"fix": "log the model in a format without code (skops, safetensors, ONNX), or have security name its builder in code_builders, or the files in code_waivers (data.json); then: mlflow-governance judge {name}/{version}",
	},
	"ACC-012": {
		"path": "evidence.licences",
		"message": licences.problem(clashing),
		"fix": "replace what clashes, or have security waive it in data.json; then: mlflow-governance submit models:/{name}/{version} --key KEY.pem",
	},
	"ACC-013": {
		"path": "evidence.layout",
		"message": "the steps that made the model are not proved by a layout and its links",
		"fix": "mlflow-governance submit models:/{name}/{version} --layout FOLDER --key KEY.pem",
	},
}

# METADATA
# title: The decision of the accept gate
# entrypoint: true
decision := {
	"gate": "accept",
	"allow": allow,
	"checks": checks,
	"modes": relieved.modes,
	"waived": relieved.waived,
	"shadow": told.shadow,
	"reasons": told.reasons,
	"warnings": (((vulnerabilities.warnings(waivers) | licences.warnings(licence_waivers)) | code.warnings(code_waivers)) | told.warnings),
	"obligations": ((vulnerabilities.obligations(input, waivers) | licences.obligations(input, licence_waivers)) | code.obligations(input, code_waivers)),
	"details": {"blocking_vulnerabilities": vulnerabilities.names(blocking)},
}
