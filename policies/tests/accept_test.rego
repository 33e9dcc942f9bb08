package registry.accept_test

import data.registry.accept
import data.registry.good_test as good
import data.registry.promote

test_a_complete_version_is_accepted if {
	d := accept.decision with input as good.dossier("accept")
	d.allow
	count(d.reasons) == 0
}

test_nothing_is_accepted_on_no_evidence if {
	d := accept.decision with input as good.changed("accept", "/evidence", {})
	codes := {"ACC-001", "ACC-002", "ACC-003", "ACC-004", "ACC-005", "ACC-006", "ACC-007", "ACC-011", "ACC-012", "ACC-013"}
	good.refused_for(d, codes)
}

test_a_failed_test_is_refused if {
	d := accept.decision with input as good.changed("accept", "/evidence/test_result/facts/result", "FAILED")
	good.refused_for(d, {"ACC-001"})
	e := accept.decision with input as good.changed("accept", "/evidence/test_result/facts", {"result": "FAILED", "failed_tests": ["drift", 5, "bias"]})
	endswith(e.reasons[0].message, "; failed are drift, bias")
}

test_an_incomplete_card_names_what_it_lacks if {
	d := accept.decision with input as good.changed("accept", "/evidence/model_card/facts", {"complete": false, "missing": ["owner"]})
	good.refused_for(d, {"ACC-006"})
	endswith(d.reasons[0].message, ": it lacks owner")
}

test_facts_of_a_failed_verifier_do_not_count if {
	d := accept.decision with input as good.changed("accept", "/evidence/model_card/status", "failed")
	good.refused_for(d, {"ACC-006"})
}

vulnerable(v) := good.changed("accept", "/evidence/vulnerabilities/facts/vulnerabilities/-", v)

test_a_severe_vulnerability_blocks_and_is_named if {
	d := accept.decision with input as vulnerable({"id": "CVE-9", "severity": "HIGH", "cvss": 5, "component": "torch 2.1"})
	good.refused_for(d, {"ACC-005"})
	contains(d.reasons[0].message, "CVE-9 in torch 2.1")
}

test_a_high_score_blocks_whatever_the_severity_says if {
	d := accept.decision with input as vulnerable({"id": "CVE-9", "severity": "LOW", "cvss": 7})
	good.refused_for(d, {"ACC-005"})
}

test_a_score_that_is_text_blocks if {
	d := accept.decision with input as vulnerable({"id": "CVE-9", "severity": "LOW", "cvss": "1.0"})
	good.refused_for(d, {"ACC-005"})
}

test_an_unknown_severity_blocks if {
	d := accept.decision with input as vulnerable({"id": "CVE-9", "severity": "unknown", "cvss": null})
	good.refused_for(d, {"ACC-005"})
}

test_an_unreadable_entry_blocks if {
	d := accept.decision with input as vulnerable("CVE-9")
	good.refused_for(d, {"ACC-005"})
}

test_a_list_that_is_none_blocks if {
	d := accept.decision with input as good.changed("accept", "/evidence/vulnerabilities/facts/vulnerabilities", "none")
	good.refused_for(d, {"ACC-005"})
}

severe := {"id": "CVE-9", "severity": "CRITICAL", "cvss": 9.8}

waiver(model, expires) := [{"id": "W-1", "vulnerability": "CVE-9", "model": model, "expires": expires, "owner": "sam", "approver": "ann", "reason": "not reachable"}]

test_a_waiver_in_force_tolerates_and_is_recorded if {
	d := accept.decision with input as vulnerable(severe)
		with data.registry.config.waivers as waiver("chu*", "2026-11-21T03:04:06Z")
	d.allow
	count(d.obligations) == 1
}

test_a_waiver_may_use_another_databases_name if {
	d := accept.decision with input as vulnerable(object.union(severe, {"id": "GHSA-1", "aliases": ["CVE-9"]}))
		with data.registry.config.waivers as waiver("churn", "2027-01-01T00:00:00Z")
	d.allow
	count(d.obligations) == 1
}

test_an_expired_waiver_tolerates_nothing_and_warns if {
	d := accept.decision with input as vulnerable(severe)
		with data.registry.config.waivers as waiver("churn", "2026-11-21T03:04:05Z")
	good.refused_for(d, {"ACC-005"})
	count(d.warnings) == 1
}

test_a_waiver_for_another_model_tolerates_nothing if {
	d := accept.decision with input as vulnerable(severe)
		with data.registry.config.waivers as waiver("fraud", "2027-01-01T00:00:00Z")
	good.refused_for(d, {"ACC-005"})
}

test_a_waiver_for_another_vulnerability_tolerates_nothing if {
	d := accept.decision with input as vulnerable(object.union(severe, {"id": "CVE-8"}))
		with data.registry.config.waivers as waiver("churn", "2027-01-01T00:00:00Z")
	good.refused_for(d, {"ACC-005"})
	count(d.obligations) == 0
}

test_blocked_bytes_are_refused_under_any_name if {
	d := accept.decision with input as good.changed("accept", "/subject/blocked", true)
	good.refused_for(d, {"ACC-009"})
}

test_only_a_version_at_none_is_accepted if {
	d := accept.decision with input as good.changed("accept", "/subject/stage", "Candidate")
	good.refused_for(d, {"ACC-010"})
}

test_a_candidate_can_be_judged_again if {
	again := json.patch(good.dossier("accept"), [
		{"op": "add", "path": "/subject/stage", "value": "Candidate"},
		{"op": "add", "path": "/action/again", "value": true},
	])
	d := accept.decision with input as again
	d.allow
}

test_an_sbom_nobody_held_to_the_pins_is_refused if {
	d := accept.decision with input as good.changed("accept", "/evidence/sbom/facts/pins_checked", false)
	good.refused_for(d, {"ACC-004"})
}

test_a_requirement_no_sbom_can_name_is_refused_unless_it_is_tolerated if {
	asked := good.changed("accept", "/evidence/sbom/facts/unresolved", ["pkg @ git+https://example.com/pkg@v1.0"])
	d := accept.decision with input as asked
	good.refused_for(d, {"ACC-004"})
	contains(d.reasons[0].message, "git+https://example.com/pkg@v1.0")
	e := accept.decision with input as asked with data.registry.config.unresolved_tolerated as ["pkg @ git+https://example.com/*"]
	e.allow
}

test_a_licence_that_clashes_is_refused_at_each_gate if {
	told := good.proved({"licences": [{"kind": "base-model", "uses": ["fine-tuning"], "expression": "", "choices": [], "unknown": ["?"], "components": ["base"]}]})
	d := accept.decision with input as good.changed("accept", "/evidence/licences", told)
	good.refused_for(d, {"ACC-012"})
	e := promote.decision with input as good.changed("promote", "/evidence/licences", told)
	good.refused_for(e, {"PRO-015"})
}

test_a_limit_that_is_no_number_tolerates_nothing if {
	d := accept.decision with input as good.dossier("accept") with data.registry.config.blocking_cvss as "7.0"
	good.refused_for(d, {"ACC-005"})
}
