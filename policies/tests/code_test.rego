package registry.code_test

import data.registry.accept
import data.registry.good_test
import data.registry.promote

told(verdict) := {"status": "passed", "problem": "", "facts": {
	"verdict": verdict,
	"findings": [{"file": "code/x.py", "rule": "python", "detail": "Python source", "verdict": verdict}],
}}

asked(gate, verdict) := json.patch(good_test.dossier(gate), [{"op": "add", "path": "/evidence/malware", "value": told(verdict)}])

builders := {"code_builders": [{"builder": "https://builder.example/*", "signers": ["ci", "release"]}]}

built_by(document, builder) := json.patch(document, [{"op": "add", "path": "/evidence/provenance", "value": {"status": "passed", "problem": "", "facts": {"builder_id": builder, "signers": ["ci"]}}}])

test_clean_is_accepted if {
	decision := accept.decision with input as asked("accept", "clean")
	decision.allow
}

test_code_is_refused_by_default_with_the_file if {
	decision := accept.decision with input as built_by(asked("accept", "contains_code"), "https://builder.example/1")
	not decision.allow
	some reason in decision.reasons
	reason.code == "ACC-011"
	contains(reason.message, "code/x.py Python source")
}

test_code_is_accepted_from_a_builder_that_may_bring_it if {
	document := built_by(asked("accept", "contains_code"), "https://builder.example/1")
	decision := accept.decision with input as document with data.registry.config.code_builders as builders.code_builders
	decision.allow
}

test_a_pattern_ends_at_a_slash if {
	document := built_by(asked("accept", "contains_code"), "https://builder.example/1/evil")
	decision := accept.decision with input as document with data.registry.config.code_builders as builders.code_builders
	not decision.allow
}

test_who_only_signs_provenance_is_not_the_builder_they_name if {
	document := built_by(asked("accept", "contains_code"), "https://builder.example/1")
	every signers in [["submitter"], [], "ci", null] {
		claimed := json.patch(document, [{"op": "replace", "path": "/evidence/provenance/facts/signers", "value": signers}])
		decision := accept.decision with input as claimed with data.registry.config.code_builders as builders.code_builders
		good_test.refused_for(decision, {"ACC-011"})
	}
	unsigned := accept.decision with input as document with data.registry.config.code_builders as ["https://builder.example/*"]
	good_test.refused_for(unsigned, {"ACC-011"})
}

test_a_builder_nobody_proved_vouches_for_nothing if {
	document := json.patch(built_by(asked("accept", "contains_code"), "https://builder.example/1"), [{"op": "replace", "path": "/evidence/provenance/status", "value": "failed"}])
	decision := accept.decision with input as document with data.registry.config.code_builders as builders.code_builders
	"ACC-011" in good_test.codes(decision)
}

test_the_unknown_is_accepted_from_nobody if {
	document := built_by(asked("promote", "refused"), "https://builder.example/1")
	decision := promote.decision with input as document with data.registry.config.code_builders as builders.code_builders
	"PRO-014" in good_test.codes(decision)
}

test_unread_files_are_refused if {
	decision := accept.decision with input as good_test.without("accept", "/evidence/malware")
	"ACC-011" in good_test.codes(decision)
}
