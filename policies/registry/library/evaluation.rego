# Numbers of signed evaluations. Every evaluation of the data asked for must do: a bad number is
# shed by measuring it again, not by another statement beside it.
package registry.library

import data.registry.lib

default metrics_holds(_, _) := false

# METADATA
# title: Metrics within bounds
# description: >-
#   In every signed evaluation of the data set asked for, and in at least one, the metric is a
#   number of at_least and at_most so much, and the evaluation is at most max_age_days old.
# custom:
#   code: LIB-003
#   data: library.metrics
#   evidence: [evaluation]
metrics_holds(dossier, entry) if {
	found := evaluations(dossier, entry)
	count(found) > 0
	every evaluation in found {
		sound(evaluation, dossier, entry)
		bounded(evaluation.metrics[entry.metric], entry)
	}
}

default fairness_holds(_, _) := false

# METADATA
# title: Groups that fare alike
# description: >-
#   In every signed evaluation of the data set asked for, and in at least one, the metric is known
#   for each group of the attribute, of at least two groups with at least min_size examples each.
#   Between the worst group and the best lies at most max_difference, and the lower is at least
#   min_ratio of the higher.
# custom:
#   code: LIB-004
#   data: library.fairness
#   evidence: [evaluation]
fairness_holds(dossier, entry) if {
	count(object.filter(entry, ["max_difference", "min_ratio"])) > 0
	found := evaluations(dossier, entry)
	count(found) > 0
	every evaluation in found {
		sound(evaluation, dossier, entry)
		even(groups(evaluation, entry), entry)
	}
}

# one evaluation, or a list of them; those of other data are another matter
evaluations(dossier, entry) := [evaluation |
	lib.passed(dossier, "evaluation")
	some evaluation in listed_evaluations(dossier.evidence.evaluation.facts)
	of_other_data(evaluation, entry) == false
]

listed_evaluations(facts) := facts.evaluations if {
	is_array(facts.evaluations)
} else := [facts]

default of_other_data(_, _) := false

of_other_data(evaluation, entry) if {
	is_string(entry.dataset)
	is_object(evaluation)
	is_object(evaluation.dataset)
	is_string(evaluation.dataset.name)
	glob.match(entry.dataset, ["/"], evaluation.dataset.name) == false
}

default sound(_, _, _) := false

sound(evaluation, dossier, entry) if {
	is_object(evaluation)
	is_object(evaluation.metrics)
	agreed(evaluation)
	recent_enough(dossier, field(evaluation, "at"), entry)
}

default agreed(_) := false

agreed(evaluation) if evaluation.enough_signers == true

agreed(evaluation) if count({"enough_signers"} & object.keys(evaluation)) == 0

groups(evaluation, entry) := [part |
	some part in lib.array_or_empty(evaluation.slices)
	is_object(part)
	part.attribute == entry.attribute
]

default even(_, _) := false

even(parts, entry) if {
	count(parts) > 1
	every part in parts {
		large_enough(part, entry)
	}
	values := [value | some part in parts; value := part.metrics[entry.metric]; plausible(value)]
	count(values) == count(parts)
	near(values, object.get(entry, "max_difference", null))
	proportionate(values, object.get(entry, "min_ratio", null))
}

default large_enough(_, _) := false

large_enough(_, entry) if object.get(entry, "min_size", null) == null

large_enough(part, entry) if {
	is_number(entry.min_size)
	is_number(part.size)
	part.size >= entry.min_size
}

default near(_, _) := false

near(_, limit) if limit == null

near(values, limit) if {
	is_number(limit)
	settled(max(values) - min(values)) <= settled(limit)
}

# a ratio says something between numbers that are not negative, and above one that is not nought
default proportionate(_, _) := false

proportionate(_, limit) if limit == null

proportionate(values, limit) if {
	is_number(limit)
	min(values) >= 0
	max(values) > 0
	settled(min(values)) >= settled(max(values) * limit)
}

# the engines differ in the last digit of a product, so nine digits after the point count
settled(number) := round(number * 1000000000)

default plausible(_) := false

plausible(value) if {
	is_number(value)
	abs(value) < 1000000000
}

metrics_text(_, failing) := {
	"path": "evidence.evaluation",
	"message": told("no signed evaluation, or not every one, keeps the bounds of the policy", [entry.metric | some entry in failing; is_object(entry)]),
	"fix": "have it evaluated again, then: mlflow-governance attest {name}/{version} --predicate evaluation.json --type evaluation --key KEY.pem",
}

fairness_text(_, failing) := {
	"path": "evidence.evaluation",
	"message": told("no signed evaluation, or not every one, shows that groups fare alike", [concat(" by ", [entry.metric, entry.attribute]) | some entry in failing; is_object(entry)]),
	"fix": "have it evaluated again, then: mlflow-governance attest {name}/{version} --predicate evaluation.json --type evaluation --key KEY.pem",
}
