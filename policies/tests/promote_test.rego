package registry.promote_test

import data.registry.good_test as good
import data.registry.promote

from_to(from, to) := json.patch(good.dossier("promote"), [
	{"op": "add", "path": "/subject/stage", "value": from},
	{"op": "add", "path": "/action", "value": {"from": from, "to": to}},
])

anonymous(dossier) := json.patch(dossier, [{"op": "add", "path": "/actor/authenticated", "value": false}])

with_approvals(approvals) := good.changed("promote", "/approvals", approvals)

of_tier(tier) := json.patch(with_approvals([]), [{"op": "add", "path": "/evidence/model_card/facts/risk_tier", "value": tier}])

test_a_complete_version_is_released if {
	d := promote.decision with input as good.dossier("promote")
	d.allow
	d.details.tier == "high"
}

test_the_way_to_staging_needs_no_canary_and_no_approval if {
	d := promote.decision with input as anonymous(from_to("Candidate", "Staging"))
	d.allow
	count(d.checks) == 9
}

test_what_was_accepted_under_older_rules_is_not_served if {
	asked := from_to("Candidate", "Staging")
	old := json.patch(asked, [{"op": "replace", "path": "/subject/policy_digest", "value": concat("", ["sha256:", sprintf("%064d", [7])])}])
	d := promote.decision with input as old
	good.refused_for(d, {"PRO-010"})
	e := promote.decision with input as json.patch(asked, [{"op": "remove", "path": "/evidence/malware"}])
	good.refused_for(e, {"PRO-014"})
}

test_retiring_needs_a_known_person if {
	d := promote.decision with input as from_to("Approved", "Deprecated")
	d.allow
	e := promote.decision with input as anonymous(from_to("Approved", "Deprecated"))
	good.refused_for(e, {"PRO-013"})
}

test_no_stage_is_skipped if {
	d := promote.decision with input as from_to("Candidate", "Approved")
	good.refused_for(d, {"PRO-001"})
	e := promote.decision with input as from_to("Approved", "Staging")
	good.refused_for(e, {"PRO-001"})
	f := promote.decision with input as from_to("Staging", "Deprecated")
	good.refused_for(f, {"PRO-001"})
}

test_the_stage_must_be_the_real_one if {
	d := promote.decision with input as good.changed("promote", "/subject/stage", "Candidate")
	good.refused_for(d, {"PRO-002"})
}

test_a_canary_that_did_not_proceed_is_refused if {
	d := promote.decision with input as good.changed("promote", "/evidence/canary/facts/result", "ROLLBACK")
	good.refused_for(d, {"PRO-007"})
}

test_a_policy_no_longer_accepted_is_refused if {
	d := promote.decision with input as good.changed("promote", "/subject/policy_digest", good.other)
	good.refused_for(d, {"PRO-010"})
}

test_judged_again_the_version_leaves_its_old_policy if {
	again := json.patch(good.dossier("promote"), [
		{"op": "add", "path": "/subject/stage", "value": "Approved"},
		{"op": "add", "path": "/subject/policy_digest", "value": good.other},
		{"op": "add", "path": "/action/again", "value": true},
	])
	d := promote.decision with input as again
	d.allow
}

test_an_unknown_tier_is_refused if {
	d := promote.decision with input as good.changed("promote", "/evidence/model_card/facts/risk_tier", "tiny")
	good.refused_for(d, {"PRO-011", "PRO-012"})
}

test_a_tier_nobody_signed_is_unknown if {
	d := promote.decision with input as good.changed("promote", "/evidence/model_card/status", "failed")
	good.refused_for(d, {"PRO-009", "PRO-011", "PRO-012"})
	d.details.declared == "unknown"
}

test_a_digest_is_hexadecimal if {
	odd := concat("", ["sha256:", "ggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggg", "g"])
	every digest in [odd, upper(good.digest), concat("", [good.digest, "a"]), "sha256:", null] {
		d := promote.decision with input as json.patch(from_to("Candidate", "Staging"), [{"op": "add", "path": "/subject/digest", "value": digest}])
		good.refused_for(d, {"PRO-006"})
	}
}

test_a_low_tier_below_the_default_floor_still_needs_two_people if {
	d := promote.decision with input as of_tier("low")
	good.refused_for(d, {"PRO-012"})
	d.details.tier == "medium"
}

test_a_low_tier_at_a_low_floor_needs_no_approval if {
	d := promote.decision with input as of_tier("low")
		with data.registry.config.risk_floors as [{"pattern": "chu*", "tier": "low"}]
	d.allow
}

test_the_strictest_matching_floor_counts if {
	d := promote.decision with input as of_tier("low")
		with data.registry.config.risk_floors as [{"pattern": "*", "tier": "low"}, {"pattern": "churn", "tier": "high"}]
	d.details.tier == "high"
	not d.allow
}

test_a_misspelt_floor_is_the_strictest if {
	d := promote.decision with input as of_tier("low")
		with data.registry.config.risk_floors as [{"pattern": "churn", "tier": "Low"}]
	d.details.tier == "high"
}

test_one_person_is_not_two if {
	d := promote.decision with input as with_approvals([good.approval("sam", "security"), good.approval(" Sam ", "product")])
	good.refused_for(d, {"PRO-012"})
}

test_the_submitter_does_not_count if {
	d := promote.decision with input as with_approvals([good.approval("sam", "security"), good.approval("Dora", "product")])
	good.refused_for(d, {"PRO-012"})
	contains(d.reasons[0].message, "still lacking: product")
	contains(d.reasons[0].fix, "--as product")
}

test_two_of_one_role_are_not_enough if {
	d := promote.decision with input as with_approvals([good.approval("sam", "security"), good.approval("pia", "security")])
	good.refused_for(d, {"PRO-012"})
}

test_one_person_of_both_roles_and_another_are_enough if {
	d := promote.decision with input as with_approvals([
		good.approval("sam", "security"),
		good.approval("sam", "product"),
		good.approval("pia", "product"),
	])
	d.allow
}

stale(key, value) := with_approvals([
	good.approval("sam", "security"),
	object.union(good.approval("pia", "product"), {key: value}),
])

test_an_approval_counts_for_these_bytes_this_policy_and_a_yes if {
	every key, value in {"model_digest": good.other, "policy_digest": good.other, "decision": "reject"} {
		d := promote.decision with input as stale(key, value)
		good.refused_for(d, {"PRO-012"})
	}
}

asks(quorum) := {"low": {}, "medium": quorum, "high": quorum}

test_a_quorum_counts_people_of_each_role if {
	two := [good.approval("sam", "security"), good.approval("pia", "product")]
	three := array.concat(two, [good.approval("sue", "security")])
	d := promote.decision with input as with_approvals(two)
		with data.registry.config.quorum as asks({"security": 2, "product": 1})
	good.refused_for(d, {"PRO-012"})
	d.details.lacking == ["security"]
	contains(d.reasons[0].message, "1 as product, 2 as security")
	e := promote.decision with input as with_approvals(three)
		with data.registry.config.quorum as asks({"security": 2, "product": 1})
	e.allow
}

# sam can stand for one role only, whichever way round
test_nobody_is_counted_in_two_roles if {
	quorum := asks({"security": 1, "product": 1, "legal": 1})
	every role in ["security", "product", "legal"] {
		d := promote.decision with input as with_approvals([good.approval("sam", role), good.approval("sam", "legal"), good.approval("pia", "product"), good.approval("pia", "security")])
			with data.registry.config.quorum as quorum
		"PRO-012" in good.codes(d)
	}
	e := promote.decision with input as with_approvals([good.approval("sam", "legal"), good.approval("sam", "product"), good.approval("pia", "product"), good.approval("pia", "security"), good.approval("liv", "legal")])
		with data.registry.config.quorum as quorum
	e.allow
}

test_five_roles_need_five_people_of_one_role_each if {
	five := {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}
	given := [good.approval(concat("", ["p", role]), role) | some role, _ in five]
	d := promote.decision with input as with_approvals(given)
		with data.registry.config.quorum as asks(five)
	d.allow
	e := promote.decision with input as with_approvals(array.concat(given, [good.approval("pa", "b")]))
		with data.registry.config.quorum as asks(five)
	good.refused_for(e, {"PRO-012"})
}

test_a_quorum_nobody_can_read_approves_nothing if {
	every broken in [{"low": {}}, {"high": null}, {"high": ["security"]}, {"high": {"security": "1"}}, {"high": "none"}] {
		d := promote.decision with input as good.dossier("promote")
			with data.registry.config.quorum as broken
		good.refused_for(d, {"PRO-012"})
	}
}

test_a_tier_may_ask_for_nobody if {
	d := promote.decision with input as with_approvals([])
		with data.registry.config.quorum as asks({})
	d.allow
	d.details.approvers == {}
}

test_evidence_that_is_not_asked_for_is_no_check if {
	d := promote.decision with input as good.without("promote", "/evidence/canary")
		with data.registry.config.required_evidence as {"release": ["signature", "provenance", "vulnerabilities", "malware"]}
	d.allow
	object.keys(d.checks) & {"PRO-007", "PRO-009", "PRO-015", "PRO-016"} == set()
	e := promote.decision with input as good.without("promote", "/evidence/signature")
		with data.registry.config.required_evidence as {"release": ["canary"], "staging": []}
	e.allow
	f := promote.decision with input as good.without("promote", "/evidence/signature")
		with data.registry.config.required_evidence as {"staging": []}
	good.refused_for(f, {"PRO-003"})
}

test_evidence_asked_for_in_no_list_is_asked_for if {
	every broken in [{"release": null}, {"release": "signature"}, {"release": {}}] {
		d := promote.decision with input as good.without("promote", "/evidence/signature")
			with data.registry.config.required_evidence as broken
		good.refused_for(d, {"PRO-003"})
	}
}

test_release_needs_a_known_person if {
	d := promote.decision with input as anonymous(good.dossier("promote"))
	good.refused_for(d, {"PRO-013"})
}
