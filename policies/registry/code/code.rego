# METADATA
# title: What loading a model runs
# description: >-
#   The scanner knows data and harmless constructors by name. A model that brings code of its
#   author is accepted from the builders named here, on the word of their signers, and from nobody else; what the scanner does
#   not know is accepted from nobody.
# scope: package
package registry.code

import data.registry.config
import data.registry.lib

# METADATA
# description: true when loading runs nothing unknown, and nothing of an author nobody vouches for
default acceptable(_) := false

acceptable(dossier) if {
	lib.passed(dossier, "malware")
	dossier.evidence.malware.facts.verdict == "clean"
}

acceptable(dossier) if {
	lib.passed(dossier, "malware")
	dossier.evidence.malware.facts.verdict == "contains_code"
	vouched_for(dossier)
}

default vouched_for(_) := false

vouched_for(dossier) if {
	lib.passed(dossier, "signature")
	lib.passed(dossier, "provenance")
	builder := dossier.evidence.provenance.facts.builder_id
	is_string(builder)
	some rule in config.code_builders
	glob.match(rule.builder, ["/"], builder)

	# whoever signs provenance writes the builder's name into it: it counts from the builder's own
	some signer in lib.array_or_empty(dossier.evidence.provenance.facts.signers)
	signer in rule.signers
}

default verdict(_) := "nobody has read its files"

verdict(dossier) := "its files hold code, and no builder that may bring code signed for it" if {
	dossier.evidence.malware.facts.verdict == "contains_code"
}

verdict(dossier) := "its files hold what nobody knows to be harmless" if {
	dossier.evidence.malware.facts.verdict == "refused"
}

problem(dossier) := concat("", [
	verdict(dossier),
	lib.listing(": ", [named(f) | some f in lib.array_or_empty(dossier.evidence.malware.facts.findings)]),
])

default named(_) := "a finding without a name"

named(f) := concat(" ", [f.file, f.detail]) if {
	is_string(f.file)
	is_string(f.detail)
}
