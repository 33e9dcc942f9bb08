# METADATA
# title: Licences that block, licences that clash, and who is excused
package registry.licences_test

import data.registry.good_test as good
import data.registry.licences

entry(kind, uses, choices, component) := {
	"kind": kind,
	"uses": uses,
	"expression": concat(" OR ", [concat(" AND ", c) | some c in choices]),
	"choices": choices,
	"unknown": [],
	"components": [component],
}

library(choices, name) := entry("library", ["inference"], choices, concat("", ["pkg:pypi/", name, "@1.0"]))

base(choices) := entry("base-model", ["fine-tuning", "inference"], choices, "pkg:huggingface/org/base@abc")

served(choices) := entry("base-model", ["inference"], choices, "pkg:huggingface/org/base@abc")

dataset(choices) := entry("dataset", ["training"], choices, "customers")

model(choices) := entry("model", [], choices, "churn")

mit := library([["MIT"]], "six")

apache := library([["Apache-2.0"]], "mlflow")

gpl2 := library([["GPL-2.0-only"]], "old")

named(kind, name) := object.union(entry(kind, ["inference"], [[name]], "x@1"), {"unknown": [name], "expression": ""})

silent(kind) := object.union(entry(kind, ["inference"], [], "x@1"), {"expression": ""})

dossier(entries) := good.changed("accept", "/evidence/licences", good.proved({"licences": entries}))

nobody := {"in_force": [], "expired": []}

accepted(entries) if {
	d := dossier(entries)
	b := licences.blocking(d, nobody)
	licences.acceptable(d, b)
}

# refused for exactly these reasons
refused(entries, whys) if {
	d := dossier(entries)
	b := licences.blocking(d, nobody)
	licences.acceptable(d, b) == false
	{why | some why in licences.names(b)} == whys
}

test_ordinary_licences_are_accepted if {
	accepted([mit, apache, library([["BSD-3-Clause", "MIT"]], "numpy"), model([["Apache-2.0"]]), dataset([["CC-BY-4.0"]])])
	accepted([])
}

test_licences_nobody_read_block if {
	licences.acceptable(good.without("accept", "/evidence/licences"), []) == false
	licences.acceptable(good.changed("accept", "/evidence/licences", {"status": "failed", "facts": {}, "problem": "x"}), []) == false
	licences.acceptable(good.changed("accept", "/evidence/licences", good.proved({"licences": "none"})), []) == false
	licences.acceptable(good.changed("accept", "/evidence/licences", good.proved({})), []) == false
}

test_a_denied_licence_blocks_and_is_named if {
	refused([mit, library([["SSPL-1.0"]], "mongo")], {"library pkg:pypi/mongo@1.0 is under SSPL-1.0, which is denied or unknown"})
}

test_a_denied_licence_is_denied_in_later_versions_and_with_exceptions if {
	every term in ["SSPL-1.0+", "SSPL-1.0 WITH Classpath-exception-2.0"] {
		count(licences.blocking(dossier([library([[term]], "mongo")]), nobody)) == 1
	}
}

test_one_choice_that_is_not_denied_is_enough if {
	accepted([library([["SSPL-1.0"], ["MIT"]], "x")])
	refused([library([["SSPL-1.0", "MIT"]], "x")], {"library pkg:pypi/x@1.0 is under SSPL-1.0 AND MIT, which is denied or unknown"})
}

test_a_list_of_what_is_allowed_denies_everything_else if {
	accepted([mit]) with data.registry.config.licences.allowed as ["MIT*"]
	d := dossier([apache])
	count(licences.blocking(d, nobody)) == 1 with data.registry.config.licences.allowed as ["MIT*"]
}

test_a_name_on_no_list_is_tolerated_where_the_kind_is if {
	accepted([named("library", "ACME terms"), silent("library"), silent("dataset"), silent("model")])
	refused([named("base-model", "ACME terms")], {"base-model x@1 is under ACME terms, which is denied or unknown"})
	refused([silent("base-model")], {"base-model x@1 states no licence"})
}

test_a_reference_of_somebodys_own_is_a_name_unless_the_policy_knows_it if {
	accepted([base([["LicenseRef-llama3.1"]])])
	accepted([base([["LicenseRef-scancode-llama-3.1-license-2024"]])])
	refused([base([["LicenseRef-whatever"]])], {"base-model pkg:huggingface/org/base@abc is under LicenseRef-whatever, which is denied or unknown"})
}

test_gpl2_only_and_apache_clash_and_both_are_named if {
	refused([mit, apache, gpl2], {"library pkg:pypi/old@1.0 is under GPL-2.0-only, which may not be combined with: library pkg:pypi/mlflow@1.0 is under Apache-2.0"})
	accepted([mit, gpl2])
	accepted([apache, library([["GPL-2.0-or-later"]], "newer")])
}

test_terms_of_one_component_do_not_clash_with_each_other if {
	accepted([library([["GPL-2.0-only", "Apache-2.0"]], "both")])
}

test_an_exception_is_another_licence if {
	accepted([apache, library([["GPL-2.0-only WITH Classpath-exception-2.0"]], "java")])
}

test_a_choice_that_fits_is_taken if {
	accepted([apache, library([["GPL-2.0-only"], ["MIT"]], "dual")])
	accepted([gpl2, library([["Apache-2.0"], ["MIT"]], "dual")])
	accepted([gpl2, library([["Apache-2.0"], ["MIT"]], "one"), library([["Apache-2.0"], ["BSD-2-Clause"]], "two")])
}

test_choices_that_all_clash_block if {
	refused(
		[apache, library([["GPL-2.0-only"], ["GPL-2.0-only", "MIT"]], "dual")],
		{concat("", [
			"library pkg:pypi/dual@1.0 is under GPL-2.0-only OR GPL-2.0-only AND MIT, and no choice of it fits the others: ",
			"library pkg:pypi/dual@1.0 is under GPL-2.0-only, which may not be combined with: library pkg:pypi/mlflow@1.0 is under Apache-2.0, ",
			"library pkg:pypi/dual@1.0 is under GPL-2.0-only, which may not be combined with: library pkg:pypi/mlflow@1.0 is under Apache-2.0",
		])},
	)
}

# each fits one of the others, but no choice fits both: pairs alone would let this pass
test_choices_are_made_for_all_at_once if {
	d := dossier([
		library([["GPL-2.0-only"], ["GPL-2.0-only", "MIT"]], "a"),
		library([["Apache-2.0"], ["GPL-3.0-only"]], "b"),
	])
	count(licences.blocking(d, nobody)) == 2
}

test_non_commercial_data_and_models_clash_with_a_commercial_licence if {
	refused(
		[dataset([["CC-BY-NC-4.0"]]), model([["Apache-2.0"]])],
		{"dataset customers is under CC-BY-NC-4.0, which forbids the commercial use that another licence of what is made from it would grant: model churn is under Apache-2.0"},
	)
	count(licences.blocking(dossier([base([["CC-BY-NC-SA-4.0"]]), model([["MIT"]])]), nobody)) == 1
	accepted([dataset([["CC-BY-NC-4.0"]]), model([["CC-BY-NC-4.0"]])])
	accepted([served([["CC-BY-NC-4.0"]]), model([["MIT"]])])
	accepted([dataset([["CC-BY-NC-4.0"]]), silent("model")])
}

test_a_commercial_installation_uses_nothing_non_commercial if {
	d := dossier([dataset([["CC-BY-NC-4.0"]])])
	b := licences.blocking(d, nobody) with data.registry.config.licences.uses as ["commercial"]
	count(b) == 1
	endswith(b[0].why, "is under CC-BY-NC-4.0, which forbids commercial use")
}

test_what_may_not_be_adapted_is_not_tuned if {
	refused([base([["CC-BY-ND-4.0"]])], {"base-model pkg:huggingface/org/base@abc is under CC-BY-ND-4.0, which forbids adapting it"})
	accepted([served([["CC-BY-ND-4.0"]])])
}

test_a_community_licence_is_passed_on if {
	count(licences.blocking(dossier([base([["LicenseRef-llama3"]]), model([["Apache-2.0"]])]), nobody)) == 1
	accepted([base([["LicenseRef-llama3"]]), model([["LicenseRef-llama3"]])])
	accepted([served([["LicenseRef-llama3"]]), model([["Apache-2.0"]])])
}

test_share_alike_is_kept if {
	count(licences.blocking(dossier([base([["CC-BY-SA-4.0"]]), model([["MIT"]])]), nobody)) == 1
	accepted([base([["CC-BY-SA-4.0"]]), model([["CC-BY-SA-4.0"]])])
	count(licences.blocking(dossier([base([["AGPL-3.0-only"]]), model([["MIT"]])]), nobody)) == 1
}

test_agpl_clashes_where_models_are_served_over_a_network if {
	d := dossier([library([["AGPL-3.0-only"]], "x"), model([["MIT"]])])
	count(licences.blocking(d, nobody)) == 0
	b := licences.blocking(d, nobody) with data.registry.config.licences.uses as ["network-service"]
	count(b) == 1
}

waiver(component, licence, expires) := [{"id": "L-1", "model": "chu*", "component": component, "licence": licence, "expires": expires, "owner": "sam", "approver": "ann", "reason": "not shipped"}]

later := "2027-01-01T00:00:00Z"

test_a_waiver_in_force_takes_a_component_out_and_is_recorded if {
	d := dossier([apache, gpl2])
	w := licences.waivers(d) with data.registry.config.licences.waivers as waiver("pkg:pypi/old@*", "GPL-2.0-only", later)
	count(licences.blocking(d, w)) == 0
	count(licences.obligations(d, w)) == 1
}

test_a_waiver_is_for_one_component_licence_model_and_time if {
	d := dossier([apache, gpl2])
	every list in [
		waiver("pkg:pypi/other@*", "*", later),
		waiver("pkg:pypi/old@*", "GPL-3.0-only", later),
		waiver("pkg:pypi/old@*", "*", "2026-11-21T03:04:05Z"),
		json.patch(waiver("pkg:pypi/old@*", "*", later), [{"op": "replace", "path": "/0/model", "value": "fraud"}]),
		json.patch(waiver("pkg:pypi/old@*", "*", later), [{"op": "remove", "path": "/0/licence"}]),
	] {
		w := licences.waivers(d) with data.registry.config.licences.waivers as list
		count(licences.blocking(d, w)) == 1
		count(licences.obligations(d, w)) == 0
	}
}

test_a_waiver_leaves_the_other_components_of_the_licence if {
	two := object.union(gpl2, {"components": ["pkg:pypi/old@1.0", "pkg:pypi/older@1.0"]})
	d := dossier([apache, two])
	w := licences.waivers(d) with data.registry.config.licences.waivers as waiver("pkg:pypi/old@*", "*", later)
	b := licences.blocking(d, w)
	count(b) == 1
	startswith(b[0].why, "library pkg:pypi/older@1.0 is under")
}

test_an_expired_waiver_is_worth_a_word if {
	d := dossier([])
	w := licences.waivers(d) with data.registry.config.licences.waivers as waiver("*", "*", "2026-01-01T00:00:00Z")
	licences.warnings(w) == {{"code": "LIC-101", "message": "the waiver L-1 expired at 2026-01-01T00:00:00Z"}}
}

test_what_nobody_can_read_blocks if {
	every broken in [
		5, "MIT", null, [], {},
		object.remove(mit, ["choices"]),
		object.remove(mit, ["unknown"]),
		object.remove(mit, ["uses"]),
		object.union(mit, {"choices": "MIT"}),
		object.union(mit, {"choices": ["MIT"]}),
		object.union(mit, {"choices": [[]]}),
		object.union(mit, {"choices": [[5]]}),
		object.union(mit, {"unknown": "MIT", "kind": "base-model"}),
		object.union(named("library", "x"), {"kind": 5}),
		object.union(silent("library"), {"kind": "spaceship"}),
	] {
		d := dossier([apache, broken])
		count(licences.blocking(d, nobody)) == 1
	}
}

test_a_rule_without_words_blocks_all_the_same if {
	wordless := [{"of": ["library"], "licence": ["GPL-2.0-only"], "use": ["inference"], "with": ["library"], "with_licence": ["Apache-2.0"], "unless": []}]
	d := dossier([apache, gpl2])
	b := licences.blocking(d, nobody) with data.registry.config.licences.incompatible as wordless
	licences.acceptable(d, b) == false
}
