# METADATA
# title: Exploited vulnerabilities, VEX statements, waivers and the age of advisories
package registry.vulnerabilities_test

import data.registry.accept
import data.registry.good_test as good
import data.registry.promote

severe := {"id": "CVE-9", "aliases": ["GHSA-9"], "severity": "CRITICAL", "cvss": 9.8, "component": "pkg:pypi/torch@2.1", "kev": false, "epss": 0.2, "vex": null}

mild := object.union(severe, {"severity": "low", "cvss": 2.0})

asked(v) := good.changed("accept", "/evidence/vulnerabilities/facts/vulnerabilities", [v])

blocked(d) if good.refused_for(d, {"ACC-005"})

codes(d) := {w.code | some w in d.warnings}

test_what_is_mild_is_tolerated if {
	d := accept.decision with input as asked(mild)
	d.allow
	count(d.warnings) == 0
}

test_an_exploited_one_blocks_however_mild if {
	d := accept.decision with input as asked(object.union(mild, {"kev": true}))
	blocked(d)
	contains(d.reasons[0].message, "CVE-9 in pkg:pypi/torch@2.1 (known to be exploited)")
}

test_an_entry_that_does_not_say_whether_it_is_exploited_blocks if {
	d := accept.decision with input as asked(object.remove(mild, ["kev"]))
	blocked(d)
}

test_exploited_ones_may_be_left_to_their_severity if {
	d := accept.decision with input as asked(object.union(mild, {"kev": true}))
		with data.registry.config.kev_blocks as false
	d.allow
}

test_a_likely_one_blocks_however_mild if {
	d := accept.decision with input as asked(object.union(mild, {"epss": 0.5}))
	blocked(d)
	e := accept.decision with input as asked(object.union(mild, {"epss": 0.5}))
		with data.registry.config.epss_blocks as null
	e.allow
}

test_a_likelihood_that_is_text_or_missing_blocks if {
	d := accept.decision with input as asked(object.union(mild, {"epss": "0.1"}))
	blocked(d)
	e := accept.decision with input as asked(object.remove(mild, ["epss"]))
	blocked(e)
}

said(status) := object.union(severe, {"vex": {"status": status, "justification": "vulnerable_code_not_present", "signer": "sec"}})

test_what_is_cleared_is_tolerated_and_told if {
	every status in ["not_affected", "fixed"] {
		d := accept.decision with input as asked(said(status))
		d.allow
		codes(d) == {"VUL-102"}
		some warning in d.warnings
		contains(warning.message, concat("", ["is ", status, " in the words of sec (vulnerable_code_not_present)"]))
	}
}

test_a_vex_clears_an_exploited_one_too if {
	d := accept.decision with input as asked(object.union(said("not_affected"), {"kev": true}))
	d.allow
}

test_what_is_harmless_anyway_needs_no_word if {
	d := accept.decision with input as asked(object.union(mild, {"vex": said("fixed").vex}))
	d.allow
	count(d.warnings) == 0
}

test_no_other_status_clears if {
	every status in ["affected", "under_investigation", "", null, 1, "NOT_AFFECTED"] {
		d := accept.decision with input as asked(said(status))
		blocked(d)
	}
}

test_a_statement_of_nobody_clears_nothing if {
	every vex in ["fixed", {"status": "fixed"}, {"status": "fixed", "signer": ""}, [], true] {
		d := accept.decision with input as asked(object.union(severe, {"vex": vex}))
		blocked(d)
	}
}

test_policy_may_hear_no_vex if {
	d := accept.decision with input as asked(said("not_affected"))
		with data.registry.config.clearing_vex as []
	blocked(d)
}

waiver := {"id": "W-1", "vulnerability": "GHSA-9", "model": "churn", "expires": "2027-01-01T00:00:00Z", "owner": "sam", "approver": "ann", "reason": "not reachable"}

test_a_waiver_by_another_name_tolerates_and_is_recorded if {
	d := accept.decision with input as asked(object.union(severe, {"kev": true}))
		with data.registry.config.waivers as [waiver]
	d.allow
	{o.waiver | some o in d.obligations} == {"W-1"}
}

test_a_waiver_without_owner_reason_or_end_is_none if {
	every key in ["id", "vulnerability", "owner", "approver", "reason", "expires"] {
		d := accept.decision with input as asked(severe)
			with data.registry.config.waivers as [object.remove(waiver, [key])]
		blocked(d)
		codes(d) == {"VUL-103"}
		count(d.obligations) == 0
		e := accept.decision with input as asked(severe)
			with data.registry.config.waivers as [object.union(waiver, {key: " "})]
		blocked(e)
		f := accept.decision with input as asked(severe)
			with data.registry.config.waivers as [object.union(waiver, {key: 7})]
		blocked(f)
	}
}

test_nobody_approves_a_waiver_of_their_own if {
	d := accept.decision with input as asked(severe)
		with data.registry.config.waivers as [object.union(waiver, {"approver": " SAM "})]
	blocked(d)
	codes(d) == {"VUL-103"}
}

test_a_waiver_of_no_model_is_told_to_all if {
	every odd in [object.remove(waiver, ["model"]), object.union(waiver, {"model": 7}), "W-1", null] {
		d := accept.decision with input as asked(severe)
			with data.registry.config.waivers as [odd]
		blocked(d)
		codes(d) == {"VUL-103"}
	}
}

test_a_waiver_warns_before_it_expires if {
	every at, expected in {"2026-12-05T03:04:06Z": set(), "2026-12-05T03:04:05Z": {"VUL-105"}, "2026-11-21T03:04:06Z": {"VUL-105"}} {
		d := accept.decision with input as asked(severe)
			with data.registry.config.waivers as [object.union(waiver, {"expires": at})]
		d.allow
		codes(d) == expected
	}
	e := accept.decision with input as asked(severe)
		with data.registry.config.waivers as [object.union(waiver, {"expires": "2026-12-05T03:04:05Z"})]
		with data.registry.config.waiver_notice_days as 3
	codes(e) == set()
}

test_a_waiver_for_another_model_is_not_mentioned if {
	d := accept.decision with input as asked(severe)
		with data.registry.config.waivers as [object.union(waiver, {"model": "fraud", "owner": ""})]
	blocked(d)
	count(d.warnings) == 0
}

dated(at) := good.changed("accept", "/evidence/vulnerabilities/facts/advisories_at", at)

test_advisories_may_be_asked_to_be_new if {
	every at in ["2026-11-14T03:04:05.000006Z", "2026-11-21T03:04:05Z"] {
		d := accept.decision with input as dated(at)
			with data.registry.config.max_advisory_age_days as 7
		d.allow
	}
	every at in ["2026-11-14T03:04:05.000005Z", null, "", "yesterday", 7] {
		e := accept.decision with input as dated(at)
			with data.registry.config.max_advisory_age_days as 7
		blocked(e)
		codes(e) == {"VUL-104"}
		e.details.blocking_vulnerabilities == []
	}
}

test_an_age_that_is_no_number_is_refused if {
	d := accept.decision with input as dated("2026-11-21T03:04:05Z")
		with data.registry.config.max_advisory_age_days as "seven"
	blocked(d)
}

found(changes) := json.patch(good.changed("promote", "/evidence/vulnerabilities/facts/vulnerabilities", [severe]), changes)

test_the_way_to_staging_asks_for_vulnerabilities if {
	d := promote.decision with input as found([
		{"op": "replace", "path": "/subject/stage", "value": "Candidate"},
		{"op": "replace", "path": "/action", "value": {"from": "Candidate", "to": "Staging"}},
	])
	good.refused_for(d, {"PRO-008"})
	d.details.blocking_vulnerabilities == ["CVE-9 in pkg:pypi/torch@2.1"]
}

test_what_stands_is_judged_again_by_the_advisories_of_now if {
	every step in [["Candidate", "Staging"], ["Staging", "Approved"], ["Approved", "Deprecated"]] {
		d := promote.decision with input as found([
			{"op": "replace", "path": "/subject/stage", "value": step[1]},
			{"op": "replace", "path": "/action", "value": {"from": step[0], "to": step[1], "again": true}},
			{"op": "replace", "path": "/actor/authenticated", "value": true},
		])
		good.refused_for(d, {"PRO-008"})
	}
}

test_nobody_is_kept_from_retiring_a_vulnerable_version if {
	d := promote.decision with input as found([
		{"op": "replace", "path": "/subject/stage", "value": "Approved"},
		{"op": "replace", "path": "/action", "value": {"from": "Approved", "to": "Deprecated"}},
	])
	d.allow
	count(d.warnings) == 0
}
