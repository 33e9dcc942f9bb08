package registry.library

import data.registry.lib
import data.registry.vulnerabilities

default vulnerabilities_holds(_, _) := false

# METADATA
# title: Stricter limits for vulnerabilities
# description: >-
#   For the models and risk tiers named, a vulnerability is tolerated only within these limits, too.
#   They can only be stricter: the limits for all models hold besides. A waiver in force and a VEX
#   statement excuse here what they excuse there.
# custom:
#   code: LIB-013
#   data: library.vulnerabilities
#   evidence: [vulnerabilities]
vulnerabilities_holds(dossier, entry) if {
	lib.passed(dossier, "vulnerabilities")
	is_array(dossier.evidence.vulnerabilities.facts.vulnerabilities)
	count(beyond(dossier, entry)) == 0
}

beyond(dossier, entry) := [v |
	waivers := vulnerabilities.waivers(dossier).in_force
	some v in lib.array_or_empty(dossier.evidence.vulnerabilities.facts.vulnerabilities)
	within(v, entry) == false
	excused(v, waivers) == false
]

default excused(_, _) := false

excused(v, _) if vulnerabilities.cleared(v)

excused(v, waivers) if {
	some waiver in waivers
	vulnerabilities.names_it(waiver, v)
}

default within(_, _) := false

within(v, entry) if {
	is_object(v)
	severity_within(v, object.get(entry, "tolerated_severities", null))
	below(object.get(v, "cvss", "unsaid"), object.get(entry, "blocking_cvss", null))
	below(object.get(v, "epss", "unsaid"), object.get(entry, "epss_blocks", null))
}

default severity_within(_, _) := false

severity_within(_, tolerated) if tolerated == null

severity_within(v, tolerated) if {
	is_string(v.severity)
	lower(v.severity) in lib.array_or_empty(tolerated)
}

# null says that nobody scored it
default below(_, _) := false

below(_, limit) if limit == null

below(value, limit) if {
	is_number(limit)
	value == null
}

below(value, limit) if {
	is_number(limit)
	is_number(value)
	value < limit
}

vulnerabilities_text(dossier, failing) := {
	"path": "evidence.vulnerabilities",
	"message": told("vulnerabilities are beyond the limits for this model", vulnerabilities.names([v | some entry in failing; is_object(entry); some v in beyond(dossier, entry)])),
	"fix": "its files are read-only past None: mlflow-governance submit runs:/RUN/model --name {name} --key KEY.pem",
}
