package registry.code_test

import data.registry.accept
import data.registry.good_test
import data.registry.promote

told(verdict) := {"status": "passed", "problem": "", "facts": {
	"verdict": verdict,
	"findings": [{"file": "code/x.py", "rule": "python", "detail": "Python source", "verdict": verdict}],
}}

asked(gate, verdict) := json.patch(good_test.dossier(gate), [{"op": "add", "path": "/evidence/malware", "value": told(verdict)}])

builders := {"code_builders": [{"builder": "https://builder.example/*", "signers": ["workflow"]}]}

built_by(document, builder) := json.patch(document, [{"op": "add", "path": "/evidence/provenance", "value": {"status": "passed", "problem": "", "facts": {"builder_id": builder, "signers": ["workflow"]}}}])

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

waiver := {"id": "C-1", "model": "chu*", "file": "code/*", "owner": "sam", "approver": "ann", "reason": "read line by line", "expires": "2027-01-01T00:00:00Z"}

counted(gate, count) := json.patch(asked(gate, "refused"), [{"op": "add", "path": "/evidence/malware/facts/count", "value": count}])

test_a_waiver_bears_what_somebody_looked_at_and_is_recorded if {
	d := accept.decision with input as counted("accept", 1) with data.registry.config.code_waivers as [waiver]
	d.allow
	some obligation in d.obligations
	obligation.waiver == "C-1"
	[obligation.owner, obligation.approver] == ["sam", "ann"]
	e := promote.decision with input as counted("promote", 1) with data.registry.config.code_waivers as [waiver]
	e.allow
}

test_a_waiver_for_another_file_or_model_or_without_an_owner_bears_nothing if {
	every change in [{"file": "other/*"}, {"model": "fraud*"}, {"owner": ""}, {"approver": ""}, {"approver": " Sam"}, {"reason": " "}, {"expires": "2026-01-01T00:00:00Z"}, {"expires": "soon"}, {"expires": "2027-02-29T00:00:00Z"}, {"expires": "2999-01-01T00:00:00Z"}, {"id": null}] {
		d := accept.decision with input as counted("accept", 1) with data.registry.config.code_waivers as [object.union(waiver, change)]
		good_test.refused_for(d, {"ACC-011"})
	}
}

test_findings_that_were_left_out_of_the_list_are_borne_by_nobody if {
	every count in [0, 2, null] {
		d := accept.decision with input as counted("accept", count) with data.registry.config.code_waivers as [waiver]
		good_test.refused_for(d, {"ACC-011"})
	}
	e := accept.decision with input as asked("accept", "refused") with data.registry.config.code_waivers as [waiver]
	good_test.refused_for(e, {"ACC-011"})
}

test_a_builder_named_by_a_signer_who_may_not_is_none if {
	every signers in [[], ["alice"], null, "workflow"] {
		document := json.patch(built_by(asked("accept", "contains_code"), "https://builder.example/1"), [{"op": "replace", "path": "/evidence/provenance/facts/signers", "value": signers}])
		d := accept.decision with input as document with data.registry.config.code_builders as builders.code_builders
		"ACC-011" in good_test.codes(d)
	}
}
