package registry.library

import data.registry.lib

default slo_holds(_, _) := false

# METADATA
# title: Service level objectives that are met
# description: >-
#   Every objective that was measured is met, in the profile asked for at most max_age_days ago,
#   and each of the policy's own objectives is among them, within its bounds. The target in the
#   statement is its signer's; at_least and at_most are the policy's.
# custom:
#   code: LIB-002
#   data: library.slo
#   evidence: [slo]
slo_holds(dossier, entry) if {
	lib.passed(dossier, "slo")
	dossier.evidence.slo.facts.met == true
	some profile in profiles(dossier.evidence.slo.facts)
	is_object(profile)
	profile.met == true
	profile_asked(profile, entry)
	recent_enough(dossier, field(profile, "at"), entry)
	is_array(profile.objectives)
	count(profile.objectives) > 0
	every wanted in lib.array_or_empty(object.get(entry, "objectives", [])) {
		kept(wanted, profile.objectives)
	}
}

profiles(facts) := facts.profiles if {
	is_array(facts.profiles)
} else := [facts]

default profile_asked(_, _) := false

profile_asked(_, entry) if object.get(entry, "profile", null) == null

profile_asked(profile, entry) if profile.profile == entry.profile

default kept(_, _) := false

kept(wanted, objectives) if {
	some objective in objectives
	is_object(objective)
	objective.name == wanted.name
	objective.met == true
	bounded(objective.measured, wanted)
}

kept(wanted, objectives) if {
	count(object.filter(wanted, ["at_least", "at_most"])) == 0
	some objective in objectives
	is_object(objective)
	objective.name == wanted.name
	objective.met == true
}

slo_text(dossier, _) := {
	"path": "evidence.slo",
	"message": told("no signed measurement shows the service level objectives of the policy met", [objective.name |
		some profile in profiles(dossier.evidence.slo.facts)
		some objective in lib.array_or_empty(profile.objectives)
		objective.met == false
	]),
	"fix": "measure it again, then: mlflow-governance attest {name}/{version} --predicate slo.json --type slo --key KEY.pem",
}
