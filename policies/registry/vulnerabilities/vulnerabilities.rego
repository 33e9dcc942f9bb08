# METADATA
# title: Which known vulnerabilities block a version
# description: >-
#   A vulnerability is tolerated when its severity is on the list and its score, if it has one,
#   lies below the limit; or when a waiver in force names it. Everything else blocks, an entry
#   nobody can read included.
# scope: package
package registry.vulnerabilities

import data.registry.config
import data.registry.lib

# METADATA
# description: true when the version was checked and nothing blocks it
default acceptable(_, _) := false

acceptable(dossier, blocked_by) if {
	lib.passed(dossier, "vulnerabilities")
	is_array(dossier.evidence.vulnerabilities.facts.vulnerabilities)
	count(blocked_by) == 0
}

# METADATA
# description: the entries that block, [] also for a list that is none; see acceptable
blocking(dossier, waivers) := [v |
	some v in known(dossier)
	bearable(v, waivers.in_force) == false
]

default known(_) := []

known(dossier) := lib.array_or_empty(dossier.evidence.vulnerabilities.facts.vulnerabilities)

default bearable(_, _) := false

bearable(v, _) if {
	is_string(v.severity)
	lower(v.severity) in config.tolerated_severities
	score_tolerated(v)
}

bearable(v, in_force) if {
	some waiver in in_force
	names_it(waiver, v)
}

# one vulnerability has a name in each database
default names_it(_, _) := false

names_it(waiver, v) if waiver.vulnerability == v.id

names_it(waiver, v) if waiver.vulnerability in lib.array_or_empty(v.aliases)

# a scored vulnerability says so; one that nobody scored says null, and silence is neither
default score_tolerated(_) := false

score_tolerated(v) if v.cvss == null

score_tolerated(v) if {
	is_number(v.cvss)
	v.cvss < config.blocking_cvss
}

# METADATA
# description: waivers for a model of this name, by whether their time has run out
waivers(dossier) := {"in_force": in_force, "expired": expired} if {
	mine := [waiver |
		some waiver in config.waivers
		is_string(dossier.subject.name)
		glob.match(waiver.model, ["/"], dossier.subject.name)
	]
	in_force := [w | some w in mine; time.parse_rfc3339_ns(w.expires) > time.parse_rfc3339_ns(dossier.now)]
	expired := [w | some w in mine; time.parse_rfc3339_ns(w.expires) <= time.parse_rfc3339_ns(dossier.now)]
}

# METADATA
# description: what blocks, for people; decides nothing
names(entries) := [label(v) | some v in entries]

default label(_) := "an entry without an id"

label(v) := concat(" in ", [v.id, v.component]) if {
	is_string(v.id)
	is_string(v.component)
} else := v.id if {
	is_string(v.id)
}

problem(entries) := concat("", ["vulnerabilities are unchecked or block it", lib.listing(": ", names(entries))])

# METADATA
# description: a waiver that was used is recorded with the decision
obligations(dossier, waivers) := {{"type": "record_waiver", "waiver": waiver.id, "vulnerability": waiver.vulnerability, "expires": waiver.expires} |
	some waiver in waivers.in_force
	some v in known(dossier)
	names_it(waiver, v)
}

# METADATA
# description: a waiver that ran out is worth a word
warnings(waivers) := {{"code": "VUL-101", "message": concat("", ["the waiver ", waiver.id, " expired at ", waiver.expires])} |
	some waiver in waivers.expired
}
