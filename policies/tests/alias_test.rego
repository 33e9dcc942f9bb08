package registry.alias_test

import data.registry.alias
import data.registry.good_test as good

asked(name, stage, authenticated) := json.patch(good.dossier("alias"), [
	{"op": "add", "path": "/action/alias", "value": name},
	{"op": "add", "path": "/subject/stage", "value": stage},
	{"op": "add", "path": "/actor/authenticated", "value": authenticated},
])

deleting(dossier) := json.patch(dossier, [{"op": "add", "path": "/action/to_version", "value": null}])

test_a_protected_alias_names_an_approved_version if {
	d := alias.decision with input as asked("champion", "Approved", true)
	d.allow
	every name in ["champion", "Champion", "prod-eu", "production.eu"] {
		e := alias.decision with input as asked(name, "Staging", true)
		good.refused_for(e, {"ALI-003"})
	}
}

test_a_protected_alias_needs_a_known_person if {
	d := alias.decision with input as asked("champion", "Approved", false)
	good.refused_for(d, {"ALI-004"})
	e := alias.decision with input as deleting(asked("champion", "Approved", false))
	good.refused_for(e, {"ALI-004"})
}

test_other_aliases_are_free if {
	d := alias.decision with input as asked("challenger", "None", false)
	d.allow
}

rules(roles) := [
	{"aliases": ["Beta*"], "stages": ["Candidate", "Staging"], "roles": roles},
	{"aliases": ["*-eu"], "stages": ["Staging", "Approved"], "roles": []},
]

test_every_rule_about_an_alias_counts if {
	every stage, expected in {"Candidate": {"ALI-003"}, "Staging": set(), "Approved": {"ALI-003"}} {
		d := alias.decision with input as asked("BETA-eu", stage, true)
			with data.registry.config.alias_rules as rules([])
		good.codes(d) == expected
	}
	e := alias.decision with input as asked("champion", "None", false)
		with data.registry.config.alias_rules as rules([])
	e.allow
}

test_an_alias_may_ask_for_a_role if {
	every dossier in [asked("beta", "Staging", true), deleting(asked("beta", "Staging", true))] {
		d := alias.decision with input as dossier
			with data.registry.config.alias_rules as rules(["security"])
		d.allow
		e := alias.decision with input as dossier
			with data.registry.config.alias_rules as rules(["release"])
		good.refused_for(e, {"ALI-005"})
		contains(e.reasons[0].message, ": release")
	}
}

test_rules_nobody_can_read_forbid if {
	every broken in [null, "champion", {}] {
		d := alias.decision with input as asked("any", "Approved", true)
			with data.registry.config.alias_rules as broken
		good.refused_for(d, {"ALI-003", "ALI-005"})
	}
	e := alias.decision with input as asked("champion", "Approved", true)
		with data.registry.config.alias_rules as [{"aliases": ["champion"]}]
	good.refused_for(e, {"ALI-003", "ALI-005"})
}

test_no_alias_points_at_withdrawn_bytes if {
	d := alias.decision with input as asked("challenger", "Revoked", true)
	good.refused_for(d, {"ALI-003"})
	e := alias.decision with input as good.changed("alias", "/subject/blocked", true)
	good.refused_for(e, {"ALI-002"})
}

test_an_alias_can_be_taken_from_withdrawn_bytes if {
	d := alias.decision with input as deleting(asked("champion", "Revoked", true))
	d.allow
}

test_an_alias_has_a_name if {
	d := alias.decision with input as asked("", "Approved", true)
	good.refused_for(d, {"ALI-001"})
}

test_only_an_explicit_null_deletes if {
	d := alias.decision with input as json.patch(asked("champion", "Staging", true), [{"op": "remove", "path": "/action/to_version"}])
	good.refused_for(d, {"ALI-003"})
}
