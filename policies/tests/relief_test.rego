# METADATA
# title: Checks that fail and do not deny, and those nothing relaxes
package registry.relief_test

import data.registry.accept
import data.registry.download
import data.registry.good_test as good

unsigned := good.changed("download", "/evidence/signature", {"status": "failed", "facts": {}, "problem": "x"})

blocked := good.changed("download", "/subject/blocked", true)

waiver(check, expires) := {
	"id": "W-1",
	"model": "chu*",
	"check": check,
	"owner": "sam",
	"approver": "pia",
	"reason": "the signer is on leave",
	"expires": expires,
}

later := "2027-01-01T00:00:00Z"

told(d) := {w.code | some w in d.warnings}

test_a_failed_check_in_warn_mode_is_told_and_does_not_deny if {
	d := download.decision with input as unsigned with data.registry.config.modes as {"DLD-003": "warn"}
	d.allow
	d.checks["DLD-003"] == false
	d.modes == {"DLD-003": "warn"}
	told(d) == {"DLD-003"}
	d.shadow == []
}

test_a_failed_check_in_shadow_mode_is_recorded_and_nobody_is_told if {
	d := download.decision with input as unsigned with data.registry.config.modes as {"DLD-003": "shadow"}
	d.allow
	told(d) == set()
	{r.code | some r in d.shadow} == {"DLD-003"}
}

test_a_check_that_holds_is_told_in_no_mode if {
	every mode in ["warn", "shadow"] {
		d := download.decision with input as good.dossier("download") with data.registry.config.modes as {"DLD-003": mode}
		d.allow
		d.modes == {"DLD-003": mode}
		told(d) == set()
		d.shadow == []
	}
}

test_no_mode_and_no_waiver_relaxes_what_keeps_the_registry_whole if {
	every mode in ["warn", "shadow"] {
		d := download.decision with input as blocked with data.registry.config.modes as {"DLD-001": mode}
		good.refused_for(d, {"DLD-001"})
		d.modes == {}
	}
	e := download.decision with input as blocked with data.registry.config.check_waivers as [waiver("DLD-001", later)]
	good.refused_for(e, {"DLD-001"})
	e.waived == []
}

test_a_word_that_is_no_mode_enforces if {
	d := download.decision with input as unsigned with data.registry.config.modes as {"DLD-003": "off", "XXX-001": "warn"}
	good.refused_for(d, {"DLD-003"})
	d.modes == {}
}

test_a_waiver_in_force_covers_the_check_while_it_fails if {
	d := download.decision with input as unsigned with data.registry.config.check_waivers as [waiver("DLD-003", later)]
	d.allow
	d.waived == [{"code": "DLD-003", "waiver": "W-1", "owner": "sam", "approver": "pia", "expires": later}]
	e := download.decision with input as good.dossier("download") with data.registry.config.check_waivers as [waiver("DLD-003", later)]
	e.allow
	e.waived == []
}

test_a_waiver_that_ran_out_warns_and_denies if {
	d := download.decision with input as unsigned with data.registry.config.check_waivers as [waiver("DLD-003", "2026-01-01T00:00:00Z")]
	good.refused_for(d, {"DLD-003"})
	told(d) == {"WVR-101"}
}

test_a_check_that_only_warns_needs_no_waiver if {
	d := download.decision with input as unsigned with data.registry.config.check_waivers as [waiver("DLD-003", later)]
		with data.registry.config.modes as {"DLD-003": "warn"}
	d.allow
	d.waived == []
	d.modes == {"DLD-003": "warn"}
}

test_what_is_relaxed_leaves_the_other_checks if {
	d := accept.decision with input as good.without("accept", "/evidence/dataset") with data.registry.config.modes as {"ACC-006": "warn"}
	d.allow == false
	good.codes(d) == {"ACC-007"}
}
