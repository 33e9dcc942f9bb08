package registry.library

import data.registry.lib

default base_models_holds(_, _) := false

# METADATA
# title: Base models from a list
# description: >-
#   Every base model in the signed SBOM fits a glob of the list, by its package URL, such as
#   pkg:huggingface/meta-llama/*, or by name@version. A model without a base model passes.
# custom:
#   code: LIB-007
#   data: library.base_models
#   evidence: [licences]
base_models_holds(dossier, entry) if {
	lib.passed(dossier, "licences")
	is_array(dossier.evidence.licences.facts.licences)
	every stated in dossier.evidence.licences.facts.licences {
		from_the_list(stated, entry)
	}
}

default from_the_list(_, _) := false

from_the_list(stated, _) if stated.kind in {"model", "library", "dataset"}

from_the_list(stated, entry) if {
	is_array(stated.components)
	count(stated.components) > 0
	every component in stated.components {
		among(component, entry.allowed)
	}
}

base_models_text(dossier, failing) := {
	"path": "evidence.licences",
	"message": told("no signed SBOM shows only base models the policy lists", [component |
		some stated in lib.array_or_empty(dossier.evidence.licences.facts.licences)
		stated.kind == "base-model"
		some component in lib.array_or_empty(stated.components)
		count([entry | some entry in failing; is_object(entry); among(component, entry.allowed) == false]) > 0
	]),
	"fix": "build on a listed base model, or have security list this one in library.base_models (data.json), then: mlflow-governance submit runs:/RUN/model --name {name} --key KEY.pem",
}
