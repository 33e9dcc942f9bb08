# Which licences go together. A rule of the table has a side that demands (of, licence, use) and a
# side that meets the demand (with, with_licence, unless). Entries are compared by the numbers of
# the rules that are about them and not pair by pair, since a model has many entries and few of
# them matter. A rule with nothing in "with" forbids by itself.
package registry.licences

import data.registry.config
import data.registry.lib

default applies(_, _, _) := false

applies(rule, term, entry) if {
	is_string(term)
	entry.kind in rule.of
	matches(rule.licence, term)
	used_for(rule, entry)
}

default used_for(_, _) := false

used_for(rule, entry) if {
	some use in rule.use
	use in lib.array_or_empty(entry.uses)
}

used_for(rule, _) if {
	some use in rule.use
	use in config.licences.uses
}

default demands(_, _, _) := false

demands(rule, term, entry) if {
	count(rule["with"]) > 0
	applies(rule, term, entry)
}

default meets(_, _, _) := false

meets(rule, term, entry) if {
	is_string(term)
	entry.kind in rule["with"]
	matches(rule.with_licence, term)
	matches(rule.unless, term) == false
}

# a rule nobody demands is met by anybody: mostly that is all of them
clashing(stated, rules) := [] if {
	demanded(stated, rules) == {}
} else := array.concat(settled_clashes(settled), open_clashes(open, settled)) if {
	wanted := demanded(stated, rules)
	profiled := [object.union(s, {"choices": [profile(choice, s.entry, wanted) | some choice in s.choices]}) | some s in stated]
	settled := [s | some s in profiled; count(s.choices) == 1]
	open := [s | some s in profiled; count(s.choices) > 1]
}

# METADATA
# description: the rules somebody's licence demands to be met, by number
demanded(stated, rules) := {i: rule |
	some i, rule in rules
	some s in stated
	some choice in s.choices
	some term in choice.terms
	demands(rule, term, s.entry)
}

# METADATA
# description: a choice with the demanded rules that are about it, by number, on their one side or the other
profile(choice, entry, rules) := {
	"terms": choice.terms,
	"demands": {i | some i, rule in rules; some term in choice.terms; demands(rule, term, entry)},
	"meets": {i | some i, rule in rules; some term in choice.terms; meets(rule, term, entry)},
}

# METADATA
# description: for each rule of the table, the entries that have a choice on this side of it
by_rule(entries, side) := [[s | some s in entries; some choice in s.choices; i in choice[side]] |
	some i, _ in config.licences.incompatible
]

# told from the side that demands
settled_clashes(settled) := [{"entry": s, "why": why_clash(i, s, s.choices[0], others[0], others[0].choices[0])} |
	meeting := by_rule(settled, "meets")
	some s in settled
	some i in s.choices[0].demands
	others := [other | some other in meeting[i]; other.number != s.number]
	count(others) > 0
]

open_clashes(open, settled) := [{"entry": s, "why": why_stuck(s, meeting, demanding)} |
	meeting := by_rule(settled, "meets")
	demanding := by_rule(settled, "demands")
	narrowed := [object.union(s, {"choices": [c | some c in s.choices; beside(c, meeting, demanding)]}) | some s in open]
	open_meeting := by_rule(narrowed, "meets")
	open_demanding := by_rule(narrowed, "demands")
	some k, s in open
	fits(narrowed[k], open_meeting, open_demanding) == false
]

default beside(_, _, _) := false

beside(choice, meeting, demanding) if {
	every i in choice.demands {
		count(meeting[i]) == 0
	}
	every i in choice.meets {
		count(demanding[i]) == 0
	}
}

default fits(_, _, _) := false

fits(s, meeting, demanding) if {
	some choice in s.choices
	every i in choice.demands {
		alone(s, meeting[i])
	}
	every i in choice.meets {
		alone(s, demanding[i])
	}
}

# an entry is no rival of itself: it makes one choice
default alone(_, _) := false

alone(s, entries) if {
	every other in entries {
		other.number == s.number
	}
}

# METADATA
# description: the pair that clashes by a rule, the side that demands first
default why_clash(_, _, _, _, _) := "two licences that do not go together"

why_clash(i, one, choice, other, chosen) := concat("", [
	told(one),
	" is under ",
	[term | some term in choice.terms; demands(rule, term, one.entry)][0],
	", which ",
	rule.because,
	": ",
	told(other),
	" is under ",
	[term | some term in chosen.terms; meets(rule, term, other.entry)][0],
]) if {
	rule := config.licences.incompatible[i]
}

# METADATA
# description: an open entry, with the first clashes of its choices with what is settled
default why_stuck(_, _, _) := "a licence no choice of which goes together with the others"

why_stuck(s, meeting, demanding) := concat("", [
	told(s),
	" is under ",
	title(s.entry),
	", and no choice of it fits the others",
	lib.listing(": ", array.slice(array.concat(first, second), 0, 3)),
]) if {
	first := [why_clash(i, s, choice, other, other.choices[0]) |
		some choice in s.choices
		some i in choice.demands
		some other in array.slice(meeting[i], 0, 1)
	]
	second := [why_clash(i, other, other.choices[0], s, choice) |
		some choice in s.choices
		some i in choice.meets
		some other in array.slice(demanding[i], 0, 1)
	]
}
