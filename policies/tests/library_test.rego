# METADATA
# title: The library, rule by rule, and where it is asked
package registry.library_test

import data.registry.accept
import data.registry.alias
import data.registry.good_test as good
import data.registry.library
import data.registry.promote

yesterday := "2026-11-20T03:04:05.000006Z"

lately := "2026-11-21T03:09:05.000006Z"

with_facts(kind, facts) := good.changed("promote", concat("/", ["", "evidence", kind]), good.proved(facts))

holds(name, dossier, entry) := library.holds(name, dossier, entry)

# a rule that holds, and that falls with each of these changes to the facts
falls(name, kind, facts, entry, changes) if {
	holds(name, with_facts(kind, facts), entry)
	every change in changes {
		holds(name, with_facts(kind, object.union(facts, change)), entry) == false
	}
	holds(name, good.changed("promote", concat("/", ["", "evidence", kind]), {"status": "failed", "facts": facts, "problem": ""}), entry) == false
}

test_a_canary_is_new_wide_and_long if {
	facts := {
		"result": "PROCEED",
		"at": yesterday,
		"metrics": {"traffic_share": 0.05, "odd": "0.9"},
		"window": {"from": "2026-11-19T00:00:00.000000Z", "to": "2026-11-20T00:00:00.000000Z"},
	}
	entry := {"max_age_days": 1, "min_share": 0.05, "min_hours": 24}
	falls("canary", "canary", facts, entry, [
		{"result": "ROLLBACK"},
		{"at": "2026-11-20T03:04:05.000005Z"}, {"at": null}, {"at": "2026-11-21T03:09:05.000007Z"}, {"at": "2026-02-30T00:00:00Z"},
		{"metrics": {"traffic_share": 0.049}}, {"metrics": {"traffic_share": "1"}}, {"metrics": []}, {"metrics": {"traffic_share": {"value": 0.01}}},
		{"window": {"from": "2026-11-19T00:00:00.000001Z"}}, {"window": null},
	])
	holds("canary", with_facts("canary", object.union(facts, {"at": lately})), entry)
	holds("canary", with_facts("canary", facts), {"min_share": 0.05, "share_metric": "odd"}) == false
	holds("canary", with_facts("canary", {"result": "PROCEED"}), {"steps": ["release"]})
}

test_objectives_are_met_in_the_profile_and_by_the_policys_own_bounds if {
	facts := {"met": true, "profiles": [
		{"profile": "batch", "met": true, "at": yesterday, "objectives": [{"name": "p99", "measured": 900, "met": true}]},
		{"profile": "online", "met": true, "at": yesterday, "objectives": [{"name": "p99", "measured": 180, "met": true}]},
	]}
	falls("slo", "slo", facts, {"profile": "online", "max_age_days": 2, "objectives": [{"name": "p99", "at_most": 200}]}, [
		{"met": false}, {"profiles": []}, {"profiles": [facts.profiles[0]]}, {"profiles": ["online"]},
		{"profiles": [object.union(facts.profiles[1], {"met": "true"})]},
		{"profiles": [object.union(facts.profiles[1], {"objectives": []})]},
		{"profiles": [object.union(facts.profiles[1], {"objectives": [{"name": "p99", "measured": 201, "met": true}]})]},
		{"profiles": [object.union(facts.profiles[1], {"objectives": [{"name": "p99", "measured": "1", "met": true}]})]},
		{"profiles": [object.union(facts.profiles[1], {"objectives": [{"name": "p99", "measured": 1, "met": false}]})]},
	])
	holds("slo", with_facts("slo", facts), {})
	holds("slo", with_facts("slo", facts), {"objectives": [{"name": "p99"}]})
	holds("slo", with_facts("slo", facts), {"objectives": [{"name": "uptime"}]}) == false
	holds("slo", with_facts("slo", {"profile": "online", "met": true, "at": yesterday, "objectives": [{"name": "p99", "met": true, "measured": 1}]}), {"profile": "online"})
}

evaluation := {
	"dataset": {"name": "holdout", "digest": null},
	"metrics": {"auc": 0.8},
	"at": yesterday,
	"enough_signers": true,
	"slices": [
		{"attribute": "sex", "group": "f", "size": 90, "metrics": {"recall": 0.72}},
		{"attribute": "sex", "group": "m", "size": 50, "metrics": {"recall": 0.9}},
		{"attribute": "age", "group": "old", "size": 1, "metrics": {"recall": 0.1}},
	],
}

changed(key, value) := {"evaluations": [object.union(evaluation, {key: value})]}

test_every_evaluation_of_the_data_keeps_the_bounds if {
	facts := {"evaluations": [evaluation]}
	entry := {"metric": "auc", "at_least": 0.8, "at_most": 0.99, "dataset": "hold*", "max_age_days": 30}
	falls("metrics", "evaluation", facts, entry, [
		{"evaluations": []}, {"evaluations": ["fine"]}, {"evaluations": [evaluation, "fine"]},
		changed("metrics", {"auc": 0.799}), changed("metrics", {"auc": 0.991}), changed("metrics", {"auc": "0.9"}),
		changed("enough_signers", false), changed("enough_signers", null), changed("at", "2026-10-01T00:00:00Z"),
		changed("dataset", {"name": "train"}),
		{"evaluations": array.concat([evaluation], changed("metrics", {"auc": 0.1}).evaluations)},
	])
	others := {"evaluations": [evaluation, object.union(evaluation, {"dataset": {"name": "train"}, "metrics": {"auc": 0}})]}
	holds("metrics", with_facts("evaluation", others), entry)
	holds("metrics", with_facts("evaluation", evaluation), entry)
	every broken in [{"metric": "auc"}, {"metric": "auc", "at_least": "0"}, {"at_least": 0}, {"metric": "f1", "at_least": 0}] {
		holds("metrics", with_facts("evaluation", facts), broken) == false
	}
}

recalls(f, m) := changed("slices", [
	{"attribute": "sex", "group": "f", "size": 90, "metrics": {"recall": f}},
	{"attribute": "sex", "group": "m", "size": 50, "metrics": {"recall": m}},
	{"attribute": "age", "group": "old", "size": 1, "metrics": {"recall": 0.1}},
])

fair(facts, limits) if holds("fairness", with_facts("evaluation", facts), object.union({"attribute": "sex", "metric": "recall"}, limits))

test_groups_fare_alike if {
	falls("fairness", "evaluation", recalls(0.72, 0.9), {"attribute": "sex", "metric": "recall", "min_ratio": 0.8, "max_difference": 0.18, "min_size": 50}, [
		recalls(0.7199, 0.9), recalls(0.9, 0.7199), recalls("0.8", 0.9), recalls(null, 0.9), recalls(-0.1, 0.9), recalls(0, 0), recalls(1000000000, 1000000000),
		changed("slices", []), changed("slices", null), changed("slices", ["sex"]),
		changed("slices", [{"attribute": "sex", "group": "f", "size": 90, "metrics": {"recall": 1}}]),
		changed("slices", [{"attribute": "sex", "group": g, "size": 49, "metrics": {"recall": 1}} | some g in ["f", "m"]]),
		changed("slices", [{"attribute": "sex", "group": g, "size": "99", "metrics": {"recall": 1}} | some g in ["f", "m"]]),
	])
	fair(recalls(0.1, 0.3), {"max_difference": 0.2})
	holds("fairness", with_facts("evaluation", recalls(0.9, 0.9)), {"attribute": "sex", "metric": "recall"}) == false
}

datasets(changes) := {"datasets": [
	{"name": "eu/a", "digest": good.digest, "purpose": null, "legal_basis": null, "personal_data": "none"},
	object.union({"name": "crm-1", "digest": good.other, "purpose": "Credit scoring", "legal_basis": "consent", "personal_data": "personal"}, changes),
]}

test_personal_data_has_a_purpose_and_a_legal_basis if {
	entry := {"purposes": ["credit*"], "legal_bases": ["consent", "contract"], "special_category_bases": ["consent"]}
	falls("data_protection", "dataset", datasets({}), entry, [
		datasets({"purpose": "marketing"}), datasets({"purpose": null}), datasets({"legal_basis": null}), datasets({"legal_basis": "research"}),
		datasets({"personal_data": null}), datasets({"personal_data": "None"}), datasets({"personal_data": "special_category", "legal_basis": "contract"}),
		{"datasets": []}, {"datasets": null}, {"datasets": ["crm-1"]},
	])
	every kind in ["none", "pseudonymised", "special_category"] {
		holds("data_protection", with_facts("dataset", datasets({"personal_data": kind})), entry)
	}
	holds("data_protection", with_facts("dataset", datasets({"personal_data": "special_category"})), object.remove(entry, ["special_category_bases"])) == false
}

test_training_data_is_on_the_list if {
	entry := {"allowed": [{"name": "eu/*"}, {"name": "crm-?", "digest": good.other}]}
	falls("training_data", "dataset", datasets({}), entry, [
		datasets({"name": "crm-10"}), datasets({"digest": good.digest}), datasets({"digest": null}), datasets({"name": 7}), {"datasets": []}, {"datasets": [null]},
	])
	holds("training_data", with_facts("dataset", datasets({})), {"allowed": []}) == false
}

stated(kind, components) := {"licences": [{"kind": "library", "components": ["pkg:pypi/six@1"]}, {"kind": kind, "components": components}]}

test_base_models_are_on_the_list if {
	entry := {"allowed": ["pkg:huggingface/org/*", "own@?"]}
	falls("base_models", "licences", stated("base-model", ["pkg:huggingface/org/base@abc", "own@1"]), entry, [
		stated("base-model", ["pkg:huggingface/other/base@abc"]), stated("base-model", ["pkg:huggingface/org/base@abc", "own@10"]),
		stated("base-model", []), stated("base-model", null), stated("base-model", [7]), stated("Base-model", ["x"]), stated(null, ["x"]),
		{"licences": null}, {"licences": ["x"]},
	])
	holds("base_models", with_facts("licences", {"licences": []}), entry)
}

test_further_evidence_is_proved if {
	holds("evidence", good.dossier("promote"), {"kinds": ["canary", "layout"]})
	holds("evidence", good.dossier("promote"), {"kinds": ["canary", "slo"]}) == false
	holds("evidence", good.dossier("promote"), {"kinds": "canary"}) == false
}

test_evidence_has_an_age if {
	every kind, facts in {
		"test_result": {"at": yesterday},
		"provenance": {"finished_at": yesterday},
		"vulnerabilities": {"advisories_at": yesterday},
		"vulnerability_scan": {"scans": [{"finished": yesterday}, {"finished": yesterday}]},
	} {
		holds("evidence_age", with_facts(kind, facts), {"max_days": {kind: 1}})
		holds("evidence_age", with_facts(kind, facts), {"max_days": {kind: 0}}) == false
		holds("evidence_age", with_facts(kind, facts), {"max_days": {kind: "1"}}) == false
		holds("evidence_age", with_facts(kind, {}), {"max_days": {kind: 1}}) == false
		holds("evidence_age", good.without("promote", "/evidence/signature"), {"max_days": {"signature": 1}}) == false
	}
	two := {"scans": [{"finished": yesterday}, {"finished": "2026-01-01T00:00:00Z"}]}
	holds("evidence_age", with_facts("vulnerability_scan", two), {"max_days": {"vulnerability_scan": 1}}) == false
}

built := good.changed("promote", "/evidence/provenance/facts", {"builder_id": "https://ci.example", "signers": ["ci"]})

rebuilt(facts) := json.patch(built, [{"op": "add", "path": "/evidence/reproduction", "value": good.proved(facts)}])

word := {"builder_id": "https://lab.example", "matches": true, "tolerance": null, "signers": ["ci", "lab"]}

said(changes) := rebuilt({"matches": true, "builders": [object.union(word, changes)]})

test_somebody_else_rebuilt_it if {
	holds("reproduction", said({}), {})
	holds("reproduction", rebuilt(word), {})
	near := {"metric": "auc", "difference": 0.1, "limit": 0.2}
	every change in [{"matches": false}, {"builder_id": "HTTPS://CI.example "}, {"builder_id": ""}, {"builder_id": null}, {"signers": ["ci"]}, {"signers": []}, {"tolerance": near}, {"tolerance": 0}] {
		holds("reproduction", said(change), {}) == false
	}
	holds("reproduction", said({"signers": ["ci"]}), {"other_signer": false})
	holds("reproduction", said({"tolerance": near}), {"tolerances": {"auc": 0.1}})
	holds("reproduction", said({"tolerance": near}), {"tolerances": {"auc": 0.09}}) == false
	holds("reproduction", said({"tolerance": near}), {"tolerances": {"f1": 1}}) == false
	holds("reproduction", rebuilt({"matches": false, "builders": [word]}), {}) == false
	holds("reproduction", json.patch(said({}), [{"op": "remove", "path": "/evidence/provenance"}]), {}) == false
}

test_a_change_is_approved_for_now if {
	facts := {"id": "CHG-1", "system": "jira", "state": "approved", "from": "2026-11-21T03:04:05.000006Z", "to": "2026-11-21T03:04:05.000007Z"}
	falls("change_ticket", "change_ticket", facts, {"systems": ["jira", "snow*"]}, [
		{"state": "requested"}, {"state": "Approved"}, {"id": ""}, {"id": 7}, {"system": "excel"}, {"system": null},
		{"from": "2026-11-21T03:04:05.000007Z"}, {"to": "2026-11-21T03:04:05.000006Z"}, {"from": null}, {"to": "soon"},
	])
	again := json.patch(good.dossier("promote"), [
		{"op": "add", "path": "/action/again", "value": true},
		{"op": "add", "path": "/subject/stage", "value": "Approved"},
	])
	holds("change_ticket", again, {})
	holds("freeze", again, {"from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z"})
}

test_a_freeze_nobody_can_read_is_closed if {
	open_now := {"from": "2026-11-01T00:00:00Z", "to": "2026-11-21T03:04:05.000006Z"}
	holds("freeze", good.dossier("promote"), open_now)
	every broken in [
		{}, {"from": "2026-11-01T00:00:00Z"}, {"from": "2027-11-01T00:00:00Z", "to": "2027-01-01T00:00:00Z"}, {"from": "x", "to": "y"},
		{"weekdays": ["friday"]}, {"weekdays": "friday", "from": "01:00", "to": "02:00"}, {"weekdays": ["Friday"], "from": "01:00", "to": "02:00"},
		{"weekdays": ["monday"], "from": "1:00", "to": "02:00"}, {"weekdays": ["monday"], "from": "01:00", "to": "24:00"},
		{"weekdays": ["monday"], "from": "01:00", "to": "02:00", "utc_offset": "+3"},
	] {
		holds("freeze", good.dossier("promote"), broken) == false
		holds("freeze", good.dossier("promote"), object.union(broken, {"except_roles": ["security"]}))
	}
}

vulnerable(changes) := {"vulnerabilities": [object.union({"id": "CVE-5", "severity": "low", "cvss": 3.9, "epss": null, "kev": false}, changes)]}

test_limits_may_be_stricter_for_some if {
	entry := {"tolerated_severities": ["none", "low"], "blocking_cvss": 4.0, "epss_blocks": 0.1}
	falls("vulnerabilities", "vulnerabilities", vulnerable({}), entry, [
		vulnerable({"severity": "medium"}), vulnerable({"cvss": 4.0}), vulnerable({"cvss": "1"}), vulnerable({"epss": 0.1}), vulnerable({"epss": "0"}),
		{"vulnerabilities": null}, {"vulnerabilities": ["CVE-5"]}, {"vulnerabilities": [{"id": "CVE-5", "severity": "low"}]},
	])
	cleared := vulnerable({"cvss": 9, "vex": {"status": "not_affected", "signer": "sec"}})
	holds("vulnerabilities", with_facts("vulnerabilities", cleared), entry)
	waiver := {"id": "W", "model": "*", "vulnerability": "CVE-5", "owner": "sam", "approver": "ann", "reason": "r", "expires": "2027-01-01T00:00:00Z"}
	waived := library.holds("vulnerabilities", with_facts("vulnerabilities", vulnerable({"cvss": 9})), entry) with data.registry.config.waivers as [waiver]
	waived
}

no_scan(settings) := {"evidence": [object.union({"kinds": ["vulnerability_scan"]}, settings)]}

candidate := json.patch(good.dossier("promote"), [
	{"op": "add", "path": "/subject/stage", "value": "Candidate"},
	{"op": "add", "path": "/action", "value": {"from": "Candidate", "to": "Staging"}},
])

test_a_rule_is_a_check_where_an_entry_is_about_the_version if {
	every settings in [{}, {"models": "chu*"}, {"tiers": ["high"]}, {"steps": ["accept", "release"]}, {"models": "churn", "tiers": ["low", "high"], "steps": ["release"]}] {
		d := promote.decision with input as good.dossier("promote") with data.registry.config.library as no_scan(settings)
		good.refused_for(d, {"LIB-008"})
		contains(d.reasons[0].message, "vulnerability_scan")
	}
	every settings in [{"models": "fraud*"}, {"tiers": ["low", "medium"]}, {"steps": ["staging"]}, {"steps": []}] {
		d := promote.decision with input as good.dossier("promote") with data.registry.config.library as no_scan(settings)
		d.allow
		count(d.checks) == 16
	}
}

test_a_rule_is_asked_at_its_step if {
	s := promote.decision with input as candidate with data.registry.config.library as no_scan({"steps": ["staging"]})
	good.refused_for(s, {"LIB-008"})
	r := promote.decision with input as candidate with data.registry.config.library as no_scan({})
	r.allow
	a := accept.decision with input as good.dossier("accept") with data.registry.config.library as no_scan({"steps": ["accept"]})
	good.refused_for(a, {"LIB-008"})
}

frozen(settings) := {"freeze": [object.union({"steps": ["alias"], "from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z", "reason": "year's end"}, settings)]}

test_an_alias_may_be_frozen if {
	d := alias.decision with input as good.dossier("alias") with data.registry.config.library as frozen({})
	good.refused_for(d, {"LIB-012"})
	contains(d.reasons[0].message, "year's end")
	e := alias.decision with input as good.dossier("alias") with data.registry.config.library as frozen({"aliases": ["CHAMP*"]})
	good.refused_for(e, {"LIB-012"})
	f := alias.decision with input as good.dossier("alias") with data.registry.config.library as frozen({"aliases": ["prod*"]})
	f.allow
}

test_a_null_setting_asks_nothing_and_an_unreadable_one_fails if {
	every nothing in [null, []] {
		d := promote.decision with input as good.dossier("promote") with data.registry.config.library as {"metrics": nothing, "evidence": nothing}
		d.allow
		count(d.checks) == 16
	}
	every broken in [7, "canary", true, [7], ["canary"], {"kinds": 7}] {
		d := promote.decision with input as good.dossier("promote") with data.registry.config.library as {"evidence": broken}
		good.refused_for(d, {"LIB-008"})
	}
	unknown := promote.decision with input as good.dossier("promote") with data.registry.config.library as {"evidense": [{}], "canari": [{}]}
	good.refused_for(unknown, {"LIB-000"})
}

test_the_library_is_relaxed_like_any_check if {
	d := promote.decision with input as good.dossier("promote")
		with data.registry.config.library as no_scan({})
		with data.registry.config.modes as {"LIB-008": "warn"}
	d.allow
	{w.code | some w in d.warnings} == {"LIB-008"}
	e := promote.decision with input as good.dossier("promote")
		with data.registry.config.library as no_scan({})
		with data.registry.config.check_waivers as [{"id": "K", "model": "*", "check": "LIB-008", "owner": "sam", "approver": "ann", "reason": "r", "expires": "2027-01-01T00:00:00Z"}]
	e.allow
	{w.code | some w in e.waived} == {"LIB-008"}
}
