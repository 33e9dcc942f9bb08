package registry.withdraw_test

import data.registry.good_test as good
import data.registry.withdraw

asked(from, to, actor) := json.patch(good.dossier("withdraw"), [
	{"op": "add", "path": "/subject/stage", "value": from},
	{"op": "add", "path": "/subject/quarantined_from", "value": "Approved"},
	{"op": "add", "path": "/action", "value": {"from": from, "to": to, "reason": "found it"}},
	{"op": "add", "path": "/actor", "value": object.union(good.dossier("withdraw").actor, actor)},
])

security := {"roles": ["security"]}

nobody := {"roles": []}

administrator := {"roles": [], "admin": true}

test_security_withdraws_from_every_stage if {
	every from in ["None", "Candidate", "Staging", "Approved", "Deprecated"] {
		every to in ["Quarantined", "Revoked"] {
			d := withdraw.decision with input as asked(from, to, security)
			d.allow
		}
	}
}

test_an_administrator_withdraws_but_does_not_restore if {
	d := withdraw.decision with input as asked("Approved", "Revoked", administrator)
	d.allow
	e := withdraw.decision with input as asked("Quarantined", "Approved", administrator)
	good.refused_for(e, {"WDR-005"})
}

test_others_withdraw_nothing if {
	d := withdraw.decision with input as asked("Approved", "Revoked", nobody)
	good.refused_for(d, {"WDR-005"})
}

test_quarantine_ends_where_it_began if {
	d := withdraw.decision with input as asked("Quarantined", "Approved", security)
	d.allow
	e := withdraw.decision with input as asked("Quarantined", "Staging", security)
	not e.allow
	f := withdraw.decision with input as asked("Quarantined", "Revoked", security)
	f.allow
}

test_quarantine_that_began_nowhere_ends_nowhere if {
	every nowhere in [null, "Quarantined", "Production"] {
		d := withdraw.decision with input as json.patch(asked("Quarantined", nowhere, security), [{"op": "add", "path": "/subject/quarantined_from", "value": nowhere}])
		not d.allow
		d.checks["WDR-001"] == false
	}
}

test_this_gate_promotes_nothing if {
	d := withdraw.decision with input as asked("Staging", "Approved", security)
	good.refused_for(d, {"WDR-001", "WDR-005"})
}

test_revoked_is_for_ever if {
	every to in ["None", "Candidate", "Staging", "Approved", "Deprecated", "Quarantined", "Revoked"] {
		d := withdraw.decision with input as asked("Revoked", to, security)
		not d.allow
	}
}

test_a_reason_is_needed if {
	d := withdraw.decision with input as good.changed("withdraw", "/action/reason", " \t")
	good.refused_for(d, {"WDR-003"})
	contains(d.reasons[0].fix, "revoke {name}/{version}")
}

test_a_known_person_is_needed if {
	d := withdraw.decision with input as good.changed("withdraw", "/actor/authenticated", false)
	good.refused_for(d, {"WDR-004"})
}

test_the_stage_must_be_the_real_one if {
	d := withdraw.decision with input as good.changed("withdraw", "/subject/stage", "Staging")
	good.refused_for(d, {"WDR-002"})
}
