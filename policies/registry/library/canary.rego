package registry.library

import data.registry.lib

default canary_holds(_, _) := false

# METADATA
# title: A canary that is new, wide and long enough
# description: >-
#   The canary says PROCEED, was found at most max_age_days ago, watched at least min_share of the
#   traffic (the metric share_metric, traffic_share unless named) and lasted at least min_hours.
# custom:
#   code: LIB-001
#   data: library.canary
#   evidence: [canary]
canary_holds(dossier, entry) if {
	lib.passed(dossier, "canary")
	facts := dossier.evidence.canary.facts
	facts.result == "PROCEED"
	recent_enough(dossier, field(facts, "at"), entry)
	wide_enough(facts, entry)
	long_enough(facts, entry)
}

default wide_enough(_, _) := false

wide_enough(_, entry) if object.get(entry, "min_share", null) == null

wide_enough(facts, entry) if {
	is_object(facts.metrics)
	bounded(amount(facts.metrics[object.get(entry, "share_metric", "traffic_share")]), {"at_least": entry.min_share})
}

# a canary writes a number, or an object with its value
default amount(_) := null

amount(said) := said if is_number(said)

amount(said) := said.value if is_object(said)

default long_enough(_, _) := false

long_enough(_, entry) if object.get(entry, "min_hours", null) == null

long_enough(facts, entry) if {
	is_number(entry.min_hours)
	lib.instant(facts.window.to) - lib.instant(facts.window.from) >= entry.min_hours * 3600000000000
}

canary_text(_, _) := {
	"path": "evidence.canary",
	"message": "no signed canary that says PROCEED is as new, as wide and as long as the policy asks",
	"fix": "run it again, then: mlflow-governance attest {name}/{version} --predicate canary.json --type canary --key KEY.pem",
}
