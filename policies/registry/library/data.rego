# On what data a model may be made, and on what ground.
package registry.library

import data.registry.lib

default data_protection_holds(_, _) := false

# METADATA
# title: Purpose and legal basis of personal data (LGPD, GDPR)
# description: >-
#   Every data set in the signed statement says whether it holds personal data. One that does is
#   processed for a purpose on the list and on a legal basis on the list (GDPR article 6, LGPD
#   article 7); special categories (GDPR article 9, LGPD article 11) on one of their own list.
# custom:
#   code: LIB-005
#   data: library.data_protection
#   evidence: [dataset]
data_protection_holds(dossier, entry) if {
	count(datasets(dossier)) > 0
	every dataset in datasets(dossier) {
		lawful(dataset, entry)
	}
}

default lawful(_, _) := false

lawful(dataset, _) if dataset.personal_data == "none"

lawful(dataset, entry) if {
	dataset.personal_data in {"pseudonymised", "personal"}
	among_words(dataset.purpose, entry.purposes)
	dataset.legal_basis in lib.array_or_empty(entry.legal_bases)
}

lawful(dataset, entry) if {
	dataset.personal_data == "special_category"
	among_words(dataset.purpose, entry.purposes)
	dataset.legal_basis in lib.array_or_empty(entry.special_category_bases)
}

default among_words(_, _) := false

# a purpose is prose: no separators, no matter how it is written
among_words(value, patterns) if {
	is_string(value)
	some pattern in lib.array_or_empty(patterns)
	glob.match(lower(pattern), ["\n"], lower(value))
}

default training_data_holds(_, _) := false

# METADATA
# title: Training data from a list
# description: >-
#   Every data set in the signed statement is on the list, by a glob for its name and, where the
#   list says one, by exactly this digest.
# custom:
#   code: LIB-006
#   data: library.training_data
#   evidence: [dataset]
training_data_holds(dossier, entry) if {
	count(datasets(dossier)) > 0
	every dataset in datasets(dossier) {
		is_listed(dataset, entry)
	}
}

default is_listed(_, _) := false

is_listed(dataset, entry) if {
	some item in lib.array_or_empty(entry.allowed)
	among(dataset.name, [item.name])
	exactly(dataset, object.get(item, "digest", null))
}

default exactly(_, _) := false

exactly(_, digest) if digest == null

exactly(dataset, digest) if dataset.digest == digest

default datasets(_) := []

datasets(dossier) := lib.array_or_empty(dossier.evidence.dataset.facts.datasets) if lib.passed(dossier, "dataset")

default dataset_name(_) := "an entry without a name"

dataset_name(dataset) := dataset.name if {
	is_object(dataset)
	is_string(dataset.name)
}

data_protection_text(dossier, failing) := {
	"path": "evidence.dataset",
	"message": told("no signed statement gives all data a purpose and legal basis the policy allows", [dataset_name(dataset) |
		some dataset in datasets(dossier)
		count([entry | some entry in failing; is_object(entry); lawful(dataset, entry) == false]) > 0
	]),
	"fix": "correct the model card or the data, then: mlflow-governance submit runs:/RUN/model --name {name} --key KEY.pem",
}

training_data_text(dossier, failing) := {
	"path": "evidence.dataset",
	"message": told("no signed statement names only data sets the policy lists", [dataset_name(dataset) |
		some dataset in datasets(dossier)
		count([entry | some entry in failing; is_object(entry); is_listed(dataset, entry) == false]) > 0
	]),
	"fix": "correct the model card or the data, then: mlflow-governance submit runs:/RUN/model --name {name} --key KEY.pem",
}
