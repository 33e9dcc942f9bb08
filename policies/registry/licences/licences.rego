# METADATA
# title: Which licences block a version
# description: >-
#   An entry of the evidence is one licence and the components under it. Its licence leaves
#   choices; the entry is in order when one of them is free of denied and unknown terms and goes
#   together with what the model is, what it was made from and what runs along. An entry with one
#   such choice is settled; an entry with several is open and must find one that fits everything
#   settled, and whatever the other open entries may choose. A waiver in force takes its
#   components out of all of this.
# scope: package
package registry.licences

import data.registry.config
import data.registry.lib

# METADATA
# description: true when the licences were read and nothing blocks the version
default acceptable(_, _) := false

acceptable(dossier, blocked_by) if {
	lib.passed(dossier, "licences")
	is_array(dossier.evidence.licences.facts.licences)
	count(blocked_by) == 0
}

# METADATA
# description: what blocks, as {entry, why}, [] also for a list that is none; see acceptable
blocking(dossier, waivers) := array.concat(unusable(stated), clashing(stated, rules)) if {
	entries := known(dossier)
	spoken := {[object.get(entry, "kind", null), term] |
		some entry in entries
		is_array(entry.choices)
		some choice in entry.choices
		is_array(choice)
		some term in choice
		is_string(term)
	}
	words := glossary({term | some [_, term] in spoken})
	rules := live(entries, spoken)
	lone := [rule | some rule in rules; count(rule["with"]) == 0]
	excused := {number | some _ in waivers.in_force; some number, entry in entries; is_waived(entry, waivers.in_force)}
	stated := [stated_by(entries[number], number, waivers.in_force, {"words": words, "lone": lone}) |
		counting := {number | some number, _ in entries} - excused
		some number in counting
	]
}

default known(_) := []

known(dossier) := dossier.evidence.licences.facts.licences if is_array(dossier.evidence.licences.facts.licences)

# METADATA
# description: what the lists say of the terms, once however many entries are under them
glossary(terms) := {
	"sound": terms - denied,
	"permitted": permitted(terms),
	"strange": references - understood,
} if {
	denied := {term | some term in terms; some pattern in config.licences.denied; glob.match(pattern, ["/"], term)}

	# a reference of somebody's own is understood when the policy knows it
	references := {term | some term in terms; contains(term, "LicenseRef-")}
	understood := {term | some term in references; some pattern in config.licences.known_references; glob.match(pattern, ["/"], term)}
}

permitted(terms) := terms if {
	count(config.licences.allowed) == 0
} else := {term | some term in terms; some pattern in config.licences.allowed; glob.match(pattern, ["/"], term)}

# METADATA
# description: >-
#   the rules of the table, by number, that may be about an entry at all: a term of its kind is on
#   their list, and there is such a use. Of an ordinary environment no rule is left
live(entries, spoken) := {i: rule |
	kinds := {kind | some [kind, _] in spoken}
	stated := {use | some entry in entries; is_array(entry.uses); some use in entry.uses}
	uses := stated | {use | some use in config.licences.uses}
	some i, rule in config.licences.incompatible
	some kind in rule.of
	kind in kinds
	some use in rule.use
	use in uses
	some [speaker, term] in spoken
	speaker == kind
	some pattern in rule.licence
	glob.match(pattern, ["/"], term)
}

# METADATA
# description: an entry with the components a waiver covers, and the choices that are left to it
stated_by(entry, number, in_force, lists) := {
	"number": number,
	"entry": entry,
	"waived": {c | some _ in in_force; some c in lib.array_or_empty(entry.components); waived(c, entry, in_force)},
	"choices": [{"terms": choice} | is_array(entry.choices); some choice in entry.choices; usable(choice, entry, lists)],
}

# an entry that is no object, or names nobody, is never covered by a waiver
default is_waived(_, _) := false

is_waived(entry, in_force) if {
	is_array(entry.components)
	count(entry.components) > 0
	every component in entry.components {
		waived(component, entry, in_force)
	}
}

default waived(_, _, _) := false

waived(component, entry, in_force) if {
	some waiver in in_force
	covers(waiver, component, entry)
}

default covers(_, _, _) := false

covers(waiver, component, entry) if {
	is_string(component)
	glob.match(waiver.component, ["/"], component)
	glob.match(waiver.licence, ["/"], title(entry))
}

# --- one entry ---

unusable(stated) := [{"entry": s, "why": why_unusable(s.entry)} |
	some s in stated
	s.choices == []
	passed_over(s.entry) == false
]

default passed_over(_) := false

passed_over(entry) if {
	entry.choices == []
	tolerated_kind(entry)
}

# nothing is said about the licence; what is no entry at all is not silent
default silent(_) := false

silent(entry) if entry.choices == []

default tolerated_kind(_) := false

tolerated_kind(entry) if {
	is_string(entry.kind)
	entry.kind in config.licences.unknown_tolerated_kinds
}

default usable(_, _, _) := false

usable(choice, entry, lists) if {
	is_array(entry.unknown)
	is_array(entry.uses)
	is_array(choice)
	count(choice) > 0
	terms := {term | some term in choice}
	terms - lists.words.sound == set()

	# a name on no list, and a reference nobody knows, are for the kinds that may have them
	unclear := terms & (lists.words.strange | {name | some name in entry.unknown})
	(terms - unclear) - lists.words.permitted == set()
	[term | some term in unclear; tolerated_kind(entry) == false] == []
	[rule | some rule in lists.lone; some term in terms; applies(rule, term, entry)] == []
}

default matches(_, _) := false

matches(patterns, term) if {
	some pattern in patterns
	glob.match(pattern, ["/"], term)
}

# --- waivers ---

# METADATA
# description: waivers for a model of this name, by whether their time has run out
waivers(dossier) := lib.waivers(dossier, config.licences.waivers, ["licence", "component"])

# METADATA
# description: a waiver that was used is recorded with the decision
obligations(dossier, waivers) := {{"type": "record_waiver", "waiver": waiver.id, "licence": waiver.licence, "component": waiver.component, "owner": waiver.owner, "approver": waiver.approver, "expires": waiver.expires} |
	some waiver in waivers.in_force
	some entry in known(dossier)
	some component in lib.array_or_empty(entry.components)
	covers(waiver, component, entry)
}

# METADATA
# description: a waiver that ran out or does not count is worth a word
warnings(waivers) := lib.waiver_warnings(waivers, {"expired": "LIC-101", "incomplete": "LIC-102", "expiring": "LIC-103"})

# --- words; they decide nothing ---

problem(blocked_by) := concat("", ["licences are unread or block it", lib.listing(": ", names(blocked_by))])

# METADATA
# description: what blocks, for people
names(blocked_by) := [b.why | some b in blocked_by]

default title(_) := "no licence"

title(entry) := entry.expression if {
	is_string(entry.expression)
	entry.expression != ""
} else := concat(" or ", [concat(" and ", [t | some t in lib.array_or_empty(c); is_string(t)]) | some c in entry.choices]) if {
	is_array(entry.choices)
	count(entry.choices) > 0
}

default told(_) := "an entry without components"

told(s) := concat("", [
	s.entry.kind,
	" ",
	concat(", ", array.slice(names, 0, 3)),
	concat("", [" and others" | count(names) > 3]),
]) if {
	is_string(s.entry.kind)
	names := [c | some c in lib.array_or_empty(s.entry.components); is_string(c); {c} - s.waived == {c}]
	count(names) > 0
}

default subject_of(_) := "an entry without components"

subject_of(entry) := told({"entry": entry, "waived": set()}) if is_object(entry)

default why_unusable(_) := "an entry nobody can read"

why_unusable(entry) := concat("", [subject_of(entry), " states no licence"]) if {
	silent(entry)
} else := concat("", [subject_of(entry), " is under ", title(entry), ", which ", reason]) if {
	rules := [rule.because | some choice in lib.array_or_empty(entry.choices); some term in lib.array_or_empty(choice); some rule in forbidding(term, entry)]
	reason := array.concat(rules, ["is denied or unknown"])[0]
}

# rules of the table without a partner: what a licence forbids by itself
forbidding(term, entry) := [rule |
	some rule in config.licences.incompatible
	count(rule["with"]) == 0
	applies(rule, term, entry)
]
