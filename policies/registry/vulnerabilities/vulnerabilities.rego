# METADATA
# title: Which known vulnerabilities block a version
# description: >-
#   A vulnerability is tolerated when it is harmless: its severity is on the list, its score, if
#   it has one, lies below the limit, nobody is known to exploit it, and that is not likely either.
#   Or when somebody trusted says in a VEX document that it does no harm here; or when a waiver in
#   force names it. Everything else blocks, an entry nobody can read included. What silences a
#   vulnerability is told with the decision.
# scope: package
package registry.vulnerabilities

import data.registry.config
import data.registry.lib

# METADATA
# description: true when the version was checked, against advisories new enough, and nothing blocks it
default acceptable(_, _) := false

acceptable(dossier, blocked_by) if {
	lib.passed(dossier, "vulnerabilities")
	is_array(dossier.evidence.vulnerabilities.facts.vulnerabilities)
	up_to_date(dossier)
	count(blocked_by) == 0
}

# METADATA
# description: the entries that block, [] also for a list that is none; see acceptable
blocking(dossier, waivers) := [v |
	some v in known(dossier)
	bearable(v, waivers.in_force) == false
]

default known(_) := []

known(dossier) := dossier.evidence.vulnerabilities.facts.vulnerabilities if {
	is_array(dossier.evidence.vulnerabilities.facts.vulnerabilities)
}

default up_to_date(_) := false

up_to_date(dossier) if {
	config.max_advisory_age_days == null
} else if {
	is_number(config.max_advisory_age_days)
	age(dossier) <= config.max_advisory_age_days * 86400000000000
}

# nanoseconds since the newest advisory; undefined where nobody knows one
age(dossier) := time.parse_rfc3339_ns(dossier.now) - time.parse_rfc3339_ns(at) if {
	at := dossier.evidence.vulnerabilities.facts.advisories_at
	is_string(at)
	regex.match(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$`, at)
}

default bearable(_, _) := false

bearable(v, in_force) if {
	harmless(v)
} else if {
	cleared(v)
} else if {
	some waiver in in_force
	names_it(waiver, v)
}

default harmless(_) := false

harmless(v) if {
	is_string(v.severity)
	lower(v.severity) in config.tolerated_severities
	score_tolerated(v)
	unexploited(v)
	unlikely(v)
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
	is_number(config.blocking_cvss) # every number is less than a text
	v.cvss < config.blocking_cvss
}

default unexploited(_) := false

unexploited(_) if config.kev_blocks == false

unexploited(v) if v.kev == false

default unlikely(_) := false

unlikely(_) if config.epss_blocks == null

unlikely(v) if v.epss == null

unlikely(v) if {
	is_number(v.epss)
	is_number(config.epss_blocks)
	v.epss < config.epss_blocks
}

# the verifier says whose statement it is, and that they are trusted for it
default cleared(_) := false

cleared(v) if {
	is_object(v.vex)
	is_string(v.vex.signer)
	v.vex.signer != ""
	v.vex.status in config.clearing_vex
}

# METADATA
# description: >-
#   what may excuse vulnerabilities of this version: waivers for a model of its name, by whether
#   they are complete and their time has not run out, and VEX statements
waivers(dossier) := object.union(lib.waivers(dossier, config.waivers, ["vulnerability"]), {
	"cleared": [v | some v in known(dossier); harmless(v) == false; cleared(v)],
	"stale": [dossier.evidence.vulnerabilities.facts | lib.passed(dossier, "vulnerabilities"); up_to_date(dossier) == false],
})

# METADATA
# description: what blocks, for people; decides nothing
names(entries) := [label(v) | some v in entries]

default label(_) := "an entry without an id"

label(v) := concat("", [concat(" in ", [v.id, v.component]), exploited(v)]) if {
	is_string(v.id)
	is_string(v.component)
} else := concat("", [v.id, exploited(v)]) if {
	is_string(v.id)
}

default exploited(_) := ""

exploited(v) := " (known to be exploited)" if v.kev == true

problem(entries) := concat("", ["vulnerabilities are unchecked, checked against advisories that are too old, or block it", lib.listing(": ", names(entries))])

# METADATA
# description: a waiver that was used is recorded with the decision
obligations(dossier, waivers) := {{"type": "record_waiver", "waiver": waiver.id, "vulnerability": waiver.vulnerability, "owner": waiver.owner, "approver": waiver.approver, "expires": waiver.expires} |
	some waiver in waivers.in_force
	some v in known(dossier)
	names_it(waiver, v)
}

# METADATA
# description: what ran out, does not count, or silences a vulnerability is worth a word
warnings(waivers) := union({lib.waiver_warnings(waivers, {"expired": "VUL-101", "incomplete": "VUL-103", "expiring": "VUL-105"}), silenced(waivers), stale(waivers)})

silenced(waivers) := {{"code": "VUL-102", "message": concat("", [label(v), " is ", v.vex.status, " in the words of ", v.vex.signer, reason(v)])} |
	some v in waivers.cleared
}

default reason(_) := ""

reason(v) := concat("", [" (", v.vex.justification, ")"]) if {
	is_string(v.vex.justification)
	v.vex.justification != ""
}

stale(waivers) := {{"code": "VUL-104", "message": concat("", ["the newest advisory is of ", newest(facts), ": mlflow-governance advisories update ARCHIVE"])} |
	some facts in waivers.stale
}

default newest(_) := "an unknown day"

newest(facts) := facts.advisories_at if is_string(facts.advisories_at)
