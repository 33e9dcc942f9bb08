# METADATA
# title: Modes, waivers of checks, and what neither may relax
package registry.relief_test

import data.registry.accept
import data.registry.alias
import data.registry.download
import data.registry.good_test as good
import data.registry.promote

# no model card, and no licences
poor := json.patch(good.dossier("accept"), [
	{"op": "remove", "path": "/evidence/model_card"},
	{"op": "remove", "path": "/evidence/licences"},
])

waiver := {
	"id": "K-1",
	"model": "chu*",
	"check": "ACC-006",
	"owner": "sam",
	"approver": "ann",
	"reason": "the card is being written",
	"expires": "2027-01-01T00:00:00Z",
}

record := {"code": "ACC-006", "waiver": "K-1", "owner": "sam", "approver": "ann", "expires": "2027-01-01T00:00:00Z"}

warned(d) := {w.code | some w in d.warnings}

test_a_check_in_warn_mode_is_told_and_does_not_deny if {
	d := accept.decision with input as poor
		with data.registry.config.modes as {"ACC-006": "warn"}
	d.allow == false
	good.codes(d) == {"ACC-012"}
	d.checks["ACC-006"] == false
	d.modes == {"ACC-006": "warn"}
	d.shadow == []
	some told in d.warnings
	told.code == "ACC-006"
	told.path == "evidence.model_card"
	told.fix != ""
}

test_a_check_in_shadow_mode_is_recorded_and_told_to_nobody if {
	d := accept.decision with input as poor
		with data.registry.config.modes as {"ACC-006": "shadow", "ACC-012": "shadow"}
	d.allow
	d.reasons == []
	warned(d) == set()
	{s.code | some s in d.shadow} == {"ACC-006", "ACC-012"}
}

test_a_relaxed_check_that_passes_says_nothing if {
	d := accept.decision with input as good.dossier("accept")
		with data.registry.config.modes as {"ACC-006": "shadow", "ACC-012": "warn"}
	d.allow
	[d.shadow, warned(d)] == [[], set()]
	count(d.modes) == 2
}

test_a_relaxed_check_does_not_make_up_for_another if {
	d := accept.decision with input as poor
		with data.registry.config.modes as {"ACC-001": "warn", "ACC-006": "warn"}
	good.codes(d) == {"ACC-012"}
}

test_unknown_words_enforce if {
	every word in ["enforce", "Warn", "off", "", null, true, ["warn"]] {
		d := accept.decision with input as poor
			with data.registry.config.modes as {"ACC-006": word, "ACC-012": "warn"}
		good.codes(d) == {"ACC-006"}
		d.modes == {"ACC-012": "warn"}
	}
}

test_a_mode_for_a_code_the_gate_does_not_have_is_not_its_business if {
	d := accept.decision with input as poor
		with data.registry.config.modes as {"PRO-009": "warn", "ACC-999": "shadow"}
	good.codes(d) == {"ACC-006", "ACC-012"}
	d.modes == {}
}

# blocked bytes, an unknown digest, another stage, an unknown person
hopeless(gate) := json.patch(good.dossier(gate), [
	{"op": "replace", "path": "/subject/blocked", "value": true},
	{"op": "replace", "path": "/subject/digest", "value": null},
	{"op": "replace", "path": "/actor/authenticated", "value": false},
])

everything := {concat("", [gate, "-0", ten, one]): "shadow" |
	some gate in ["ACC", "PRO", "DLD", "ALI"]
	some ten in ["0", "1"]
	some one in ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
}

waivers_of_all := [object.union(waiver, {"check": code}) |
	some code in ["ACC-008", "ACC-009", "ALI-002", "DLD-001", "DLD-005", "PRO-005", "PRO-006", "PRO-013"]
]

test_what_keeps_the_registry_whole_is_never_relaxed if {
	a := accept.decision with input as hopeless("accept")
		with data.registry.config.modes as everything
		with data.registry.config.check_waivers as waivers_of_all
	good.codes(a) == {"ACC-008", "ACC-009"}
	p := promote.decision with input as hopeless("promote")
		with data.registry.config.modes as everything
		with data.registry.config.check_waivers as waivers_of_all
	good.codes(p) == {"PRO-005", "PRO-006", "PRO-013"}
	l := download.decision with input as hopeless("download")
		with data.registry.config.modes as everything
		with data.registry.config.check_waivers as waivers_of_all
	good.codes(l) == {"DLD-001", "DLD-005"}
	s := alias.decision with input as hopeless("alias")
		with data.registry.config.modes as everything
		with data.registry.config.check_waivers as waivers_of_all
	good.codes(s) == {"ALI-002"}
}

test_a_waiver_of_what_is_always_enforced_is_told_to_do_nothing if {
	d := accept.decision with input as good.dossier("accept")
		with data.registry.config.check_waivers as [object.union(waiver, {"check": "ACC-009"})]
	d.allow
	warned(d) == {"WVR-104"}
}

test_a_waiver_covers_the_check_it_names_and_is_recorded if {
	d := accept.decision with input as poor
		with data.registry.config.check_waivers as [waiver]
	good.codes(d) == {"ACC-012"}
	d.waived == [record]
	e := accept.decision with input as poor
		with data.registry.config.check_waivers as [waiver, object.union(waiver, {"id": "K-2", "check": "ACC-012"})]
	e.allow
	{w.waiver | some w in e.waived} == {"K-1", "K-2"}
	warned(e) == set()
}

test_two_waivers_of_one_check_are_both_counted if {
	d := accept.decision with input as good.without("accept", "/evidence/model_card")
		with data.registry.config.check_waivers as [waiver, object.union(waiver, {"id": "K-2"})]
	d.allow
	count(d.waived) == 2
}

test_a_waiver_of_a_check_that_passes_is_not_used if {
	d := accept.decision with input as good.dossier("accept")
		with data.registry.config.check_waivers as [waiver]
	d.allow
	[d.waived, warned(d)] == [[], set()]
}

test_a_waiver_that_lacks_something_covers_nothing_and_is_told if {
	every key in ["id", "model", "check", "owner", "approver", "reason", "expires"] {
		every broken in [object.remove(waiver, [key]), object.union(waiver, {key: "  "}), object.union(waiver, {key: 7})] {
			d := accept.decision with input as poor
				with data.registry.config.check_waivers as [broken]
			"ACC-006" in good.codes(d)
			d.waived == []
			warned(d) & {"WVR-102"} == expected(key, broken)
		}
	}
}

# a blank that is a model's pattern is about no model
expected(key, broken) := set() if {
	key == "model"
	broken.model == "  "
} else := {"WVR-102"}

test_nobody_approves_their_own_waiver if {
	d := accept.decision with input as poor
		with data.registry.config.check_waivers as [object.union(waiver, {"approver": "Sam "})]
	"ACC-006" in good.codes(d)
	warned(d) == {"WVR-102"}
}

test_a_waiver_warns_before_it_expires_and_the_check_denies_after if {
	every at, told in {"2026-12-06T00:00:00Z": set(), "2026-12-05T00:00:00Z": {"WVR-103"}, "2026-11-21T00:04:06-03:00": {"WVR-103"}} {
		d := accept.decision with input as poor
			with data.registry.config.check_waivers as [object.union(waiver, {"expires": at})]
		good.codes(d) == {"ACC-012"}
		warned(d) == told
	}
	e := accept.decision with input as poor
		with data.registry.config.check_waivers as [object.union(waiver, {"expires": "2026-11-21T03:04:05Z"})]
	good.codes(e) == {"ACC-006", "ACC-012"}
	warned(e) == {"WVR-101"}
}

test_a_waiver_is_for_the_models_it_names if {
	d := accept.decision with input as poor
		with data.registry.config.check_waivers as [object.union(waiver, {"model": "fraud*"})]
	good.codes(d) == {"ACC-006", "ACC-012"}
	warned(d) == set()
}

test_the_waiver_of_another_gate_is_not_mentioned if {
	d := download.decision with input as good.dossier("download")
		with data.registry.config.check_waivers as [object.union(waiver, {"expires": "2026-01-01T00:00:00Z"})]
	warned(d) == set()
}

test_modes_and_waivers_go_together if {
	d := accept.decision with input as poor
		with data.registry.config.modes as {"ACC-012": "warn"}
		with data.registry.config.check_waivers as [waiver]
	d.allow
	d.waived == [record]
	d.modes == {"ACC-012": "warn"}
	warned(d) == {"ACC-012"}
}

test_a_check_that_does_not_count_needs_no_waiver if {
	d := accept.decision with input as good.without("accept", "/evidence/model_card")
		with data.registry.config.modes as {"ACC-006": "shadow"}
		with data.registry.config.check_waivers as [waiver]
	d.allow
	d.waived == []
	{s.code | some s in d.shadow} == {"ACC-006"}
}

test_an_empty_dossier_is_denied_whatever_is_relaxed if {
	a := accept.decision with input as {} with data.registry.config.modes as everything
	p := promote.decision with input as {} with data.registry.config.modes as everything
	d := download.decision with input as {} with data.registry.config.modes as everything
	l := alias.decision with input as {} with data.registry.config.modes as everything
	[a.allow, p.allow, d.allow, l.allow] == [false, false, false, false]
}
