package registry.download_test

import data.registry.download
import data.registry.good_test as good

asked(stage, door, actor) := json.patch(good.dossier("download"), [
	{"op": "add", "path": "/subject/stage", "value": stage},
	{"op": "add", "path": "/action/door", "value": door},
	{"op": "add", "path": "/actor", "value": actor},
])

stranger := {"id": "eve", "roles": [], "admin": true, "authenticated": true}

author := {"id": "Dora ", "roles": [], "admin": false, "authenticated": true}

evaluator := {"id": "eva", "roles": ["evaluator"], "admin": false, "authenticated": true}

test_released_bytes_are_for_all_through_both_doors if {
	every stage in ["Staging", "Approved", "Deprecated"] {
		every door in ["registry", "artifact"] {
			d := download.decision with input as asked(stage, door, stranger)
			d.allow
		}
	}
}

test_a_deprecated_version_warns if {
	d := download.decision with input as asked("Deprecated", "registry", stranger)
	count(d.warnings) == 1
	e := download.decision with input as asked("Approved", "registry", stranger)
	count(e.warnings) == 0
}

test_withdrawn_bytes_are_for_nobody if {
	every stage in ["Quarantined", "Revoked"] {
		every actor in [stranger, author, evaluator] {
			d := download.decision with input as asked(stage, "artifact", actor)
			good.refused_for(d, {"DLD-001"})
		}
	}
}

test_blocked_bytes_are_for_nobody_in_any_stage if {
	every stage in ["None", "Candidate", "Staging", "Approved", "Deprecated"] {
		d := download.decision with input as json.patch(asked(stage, "artifact", evaluator), [{"op": "add", "path": "/subject/blocked", "value": true}])
		good.refused_for(d, {"DLD-001"})
	}
}

test_unreleased_bytes_are_for_evaluators if {
	every stage in ["None", "Candidate"] {
		d := download.decision with input as asked(stage, "registry", evaluator)
		d.allow
		e := download.decision with input as asked(stage, "registry", stranger)
		good.refused_for(e, {"DLD-002"})
	}
}

test_the_author_has_the_artifact_door_only if {
	d := download.decision with input as asked("None", "artifact", author)
	d.allow
	e := download.decision with input as asked("None", "registry", author)
	good.refused_for(e, {"DLD-002"})
}

test_a_version_without_submitter_has_no_author if {
	d := download.decision with input as json.patch(asked("None", "artifact", object.union(author, {"id": ""})), [{"op": "add", "path": "/subject/submitter", "value": ""}])
	good.refused_for(d, {"DLD-002"})
}

test_an_unsigned_release_is_refused if {
	d := download.decision with input as good.changed("download", "/evidence/signature/status", "missing")
	good.refused_for(d, {"DLD-003"})
}

test_a_release_under_another_policy_is_refused if {
	d := download.decision with input as good.changed("download", "/subject/policy_digest", good.other)
	good.refused_for(d, {"DLD-004"})
	e := download.decision with input as good.changed("download", "/subject/policy_digest", null)
	good.refused_for(e, {"DLD-004"})
}

test_bytes_that_are_not_hashed_yet_are_refused if {
	d := download.decision with input as json.patch(asked("None", "artifact", evaluator), [{"op": "add", "path": "/subject/digest", "value": null}])
	good.refused_for(d, {"DLD-005"})
}

test_an_unknown_door_is_refused if {
	d := download.decision with input as good.changed("download", "/action/door", "window")
	good.refused_for(d, {"DLD-002"})
}

test_no_stage_is_no if {
	d := download.decision with input as good.without("download", "/subject/stage")
	not d.allow
}
