package registry.library

import data.registry.lib

default reproduction_holds(_, _) := false

# METADATA
# title: Rebuilt by somebody else
# description: >-
#   Somebody rebuilt the model and nobody got another one. The builder is another than that of the
#   provenance, and, unless other_signer is false, somebody says so who did not sign the
#   provenance. The bytes are the same, or differ by a metric of tolerances by at most its limit.
# custom:
#   code: LIB-010
#   data: library.reproduction
#   evidence: [reproduction, provenance]
reproduction_holds(dossier, entry) if {
	lib.passed(dossier, "reproduction")
	lib.passed(dossier, "provenance")
	facts := dossier.evidence.reproduction.facts
	facts.matches == true
	some rebuilt in rebuilds(facts)
	is_object(rebuilt)
	rebuilt.matches == true
	elsewhere(rebuilt, dossier.evidence.provenance.facts)
	by_others(rebuilt, dossier.evidence.provenance.facts, entry)
	near_enough(rebuilt, entry)
}

rebuilds(facts) := facts.builders if {
	is_array(facts.builders)
} else := [facts]

default elsewhere(_, _) := false

elsewhere(rebuilt, provenance) if {
	lib.identity(rebuilt.builder_id) != ""
	lib.identity(provenance.builder_id) != ""
	lib.identity(rebuilt.builder_id) != lib.identity(provenance.builder_id)
}

# a builder's name is what its signer says
default by_others(_, _, _) := false

by_others(_, _, entry) if entry.other_signer == false

by_others(rebuilt, provenance, _) if {
	is_array(provenance.signers)
	others := {lib.identity(name) | some name in lib.array_or_empty(rebuilt.signers)} - {lib.identity(name) | some name in provenance.signers}
	count(others - {""}) > 0
}

default near_enough(_, _) := false

near_enough(rebuilt, _) if object.get(rebuilt, "tolerance", "unsaid") == null

near_enough(rebuilt, entry) if {
	is_object(rebuilt.tolerance)
	is_object(entry.tolerances)
	is_number(rebuilt.tolerance.difference)
	is_number(entry.tolerances[rebuilt.tolerance.metric])
	rebuilt.tolerance.difference <= entry.tolerances[rebuilt.tolerance.metric]
}

reproduction_text(_, _) := {
	"path": "evidence.reproduction",
	"message": "no signed statement shows that another builder got the same model",
	"fix": "have it rebuilt elsewhere, then: mlflow-governance attest {name}/{version} --predicate reproduction.json --type reproduction --key KEY.pem",
}
