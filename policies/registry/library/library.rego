# METADATA
# title: The library of ready rules
# description: >-
#   Each rule is off until data.json asks for it under "library", with a list of entries. An entry
#   says what must hold, and where: "models" is a glob (absent, all of them), "steps" are accept,
#   staging, release and alias (absent, release), "tiers" are risk tiers (absent, all). A rule is a
#   check of a decision when at least one entry is about it, and passes when all of those hold.
#   An entry nobody can read holds nowhere, and a rule nobody knows fails.
# scope: package
package registry.library

import data.registry.config
import data.registry.lib
import data.registry.risk

# METADATA
# description: the checks that are asked at this step, by code
checks(dossier, step) := {} if {
	config.library == {}
} else := {code(name): all_hold(name, dossier, entries) |
	some name, entries in asked(dossier, step)
}

# METADATA
# description: what they say when they fail, by code
texts(dossier, step) := {} if {
	config.library == {}
} else := {code(name): text(name, dossier, failing) |
	some name, entries in asked(dossier, step)
	failing := [entry | some entry in entries; holds(name, dossier, entry) == false]
}

# METADATA
# description: the entries about this version and step, by the name of their rule
asked(dossier, step) := {name: entries |
	tier := risk.tier(dossier)
	some name, given in config.library
	entries := [entry | some entry in entries_of(given); spared(entry, dossier, step, tier) == false]
	count(entries) > 0
}

# one entry may stand without its list; null asks nothing
entries_of(given) := given if {
	is_array(given)
} else := [] if {
	given == null
} else := [given]

default spared(_, _, _, _) := false

spared(entry, dossier, _, _) if {
	is_object(entry)
	is_string(entry.models)
	is_string(dossier.subject.name)
	glob.match(entry.models, ["/"], dossier.subject.name) == false
}

spared(entry, _, step, _) if {
	is_object(entry)
	is_array(object.get(entry, "steps", ["release"]))
	count({step} - {named | some named in object.get(entry, "steps", ["release"])}) == 1
}

spared(entry, _, _, tier) if {
	is_object(entry)
	is_array(entry.tiers)
	count({tier} - {named | some named in entry.tiers}) == 1
}

# an alias has no evidence of its own; only what is about time says which aliases it is about
spared(entry, dossier, step, _) if {
	step == "alias"
	is_object(entry)
	is_array(entry.aliases)
	is_string(dossier.action.alias)
	among(lower(dossier.action.alias), [lower(pattern) | some pattern in entry.aliases]) == false
}

default all_hold(_, _, _) := false

all_hold(name, dossier, entries) if {
	every entry in entries {
		is_object(entry)
		holds(name, dossier, entry)
	}
}

# The embedded engine wants all clauses of a function in one file, so the rules are named here and
# stand in files of their own.

# METADATA
# description: whether one entry of a rule holds
default holds(_, _, _) := false

holds("canary", dossier, entry) if canary_holds(dossier, entry)

holds("slo", dossier, entry) if slo_holds(dossier, entry)

holds("metrics", dossier, entry) if metrics_holds(dossier, entry)

holds("fairness", dossier, entry) if fairness_holds(dossier, entry)

holds("data_protection", dossier, entry) if data_protection_holds(dossier, entry)

holds("training_data", dossier, entry) if training_data_holds(dossier, entry)

holds("base_models", dossier, entry) if base_models_holds(dossier, entry)

holds("evidence", dossier, entry) if evidence_holds(dossier, entry)

holds("evidence_age", dossier, entry) if evidence_age_holds(dossier, entry)

holds("reproduction", dossier, entry) if reproduction_holds(dossier, entry)

holds("change_ticket", dossier, entry) if change_ticket_holds(dossier, entry)

holds("freeze", dossier, entry) if freeze_holds(dossier, entry)

holds("vulnerabilities", dossier, entry) if vulnerabilities_holds(dossier, entry)

# METADATA
# description: what a rule says of the entries that do not hold
default text(_, _, _) := {
	"path": "",
	"message": "the data asks for a rule the library does not have, under library",
	"fix": "compare the names with config.schema.json: mlflow-governance policy check --bundle FOLDER",
}

text("canary", dossier, failing) := canary_text(dossier, failing)

text("slo", dossier, failing) := slo_text(dossier, failing)

text("metrics", dossier, failing) := metrics_text(dossier, failing)

text("fairness", dossier, failing) := fairness_text(dossier, failing)

text("data_protection", dossier, failing) := data_protection_text(dossier, failing)

text("training_data", dossier, failing) := training_data_text(dossier, failing)

text("base_models", dossier, failing) := base_models_text(dossier, failing)

text("evidence", dossier, failing) := evidence_text(dossier, failing)

text("evidence_age", dossier, failing) := evidence_age_text(dossier, failing)

text("reproduction", dossier, failing) := reproduction_text(dossier, failing)

text("change_ticket", dossier, failing) := change_ticket_text(dossier, failing)

text("freeze", dossier, failing) := freeze_text(dossier, failing)

text("vulnerabilities", dossier, failing) := vulnerabilities_text(dossier, failing)

default code(_) := "LIB-000"

code("canary") := "LIB-001"

code("slo") := "LIB-002"

code("metrics") := "LIB-003"

code("fairness") := "LIB-004"

code("data_protection") := "LIB-005"

code("training_data") := "LIB-006"

code("base_models") := "LIB-007"

code("evidence") := "LIB-008"

code("evidence_age") := "LIB-009"

code("reproduction") := "LIB-010"

code("change_ticket") := "LIB-011"

code("freeze") := "LIB-012"

code("vulnerabilities") := "LIB-013"

# --- what several rules share ---

# METADATA
# description: a member of what may be no object or lack it
default field(_, _) := null

field(value, key) := value[key] if is_object(value)

# METADATA
# description: whether a text fits one of these globs; what is no text fits none
default among(_, _) := false

among(value, patterns) if {
	is_string(value)
	some pattern in lib.array_or_empty(patterns)
	glob.match(pattern, ["/"], value)
}

# METADATA
# description: whether an instant lies at most so many days back, and not ahead but for a clock five minutes off
default recent(_, _, _) := false

recent(dossier, at, days) if {
	is_number(days)
	age := lib.instant(dossier.now) - lib.instant(at)
	age <= days * 86400000000000
	age >= -300000000000
}

# METADATA
# description: the same for a setting that may be absent
default recent_enough(_, _, _) := false

recent_enough(_, _, entry) if object.get(entry, "max_age_days", null) == null

recent_enough(dossier, at, entry) if recent(dossier, at, entry.max_age_days)

# METADATA
# description: whether a number keeps the bounds of an entry; one without a bound keeps none
default bounded(_, _) := false

bounded(value, entry) if {
	is_number(value)
	count(object.filter(entry, ["at_least", "at_most"])) > 0
	value >= bound(entry, "at_least", value)
	value <= bound(entry, "at_most", value)
}

# what is no number is no bound that could be kept
bound(entry, word, value) := value if {
	object.get(entry, word, null) == null
} else := entry[word] if {
	is_number(entry[word])
}

# METADATA
# description: the one text of several entries, led in
told(lead, texts) := concat("", [lead, lib.listing(": ", texts)])
