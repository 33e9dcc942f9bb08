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
default acceptable(_, _) := false

acceptable(dossier, _) if {
	lib.passed(dossier, "malware")
	dossier.evidence.malware.facts.verdict == "clean"
}

acceptable(dossier, _) if {
	lib.passed(dossier, "malware")
	dossier.evidence.malware.facts.verdict == "contains_code"
	vouched_for(dossier)
}

# somebody looked at each finding and answers for it; none may have been left out of the list
acceptable(dossier, waivers) if {
	lib.passed(dossier, "malware")
	facts := dossier.evidence.malware.facts
	facts.verdict in {"refused", "contains_code"}
	is_array(facts.findings)
	count(facts.findings) > 0
	facts.count == count(facts.findings)
	every finding in facts.findings {
		borne(finding, dossier, waivers)
	}
}

default borne(_, _, _) := false

borne(finding, _, waivers) if {
	is_string(finding.file)
	some waiver in waivers.in_force
	glob.match(waiver.file, ["/"], finding.file)
}

borne(finding, dossier, _) if {
	finding.verdict == "contains_code"
	vouched_for(dossier)
}

# METADATA
# description: waivers for files of a model of this name
waivers(dossier) := lib.waivers(dossier, config.code_waivers, ["file"])

# METADATA
# description: a waiver that was used is recorded with the decision
obligations(dossier, waivers) := {{"type": "record_waiver", "waiver": waiver.id, "file": finding.file, "owner": waiver.owner, "approver": waiver.approver, "expires": waiver.expires} |
	some waiver in waivers.in_force
	some finding in lib.array_or_empty(dossier.evidence.malware.facts.findings)
	is_string(finding.file)
	glob.match(waiver.file, ["/"], finding.file)
}

# METADATA
# description: a waiver that ran out or does not count is worth a word
warnings(waivers) := lib.waiver_warnings(waivers, {"expired": "COD-101", "incomplete": "COD-102", "expiring": "COD-103"})

default vouched_for(_) := false

vouched_for(dossier) if {
	lib.passed(dossier, "signature")
	lib.passed(dossier, "provenance")
	builder := dossier.evidence.provenance.facts.builder_id
	is_string(builder)
	some entry in config.code_builders
	glob.match(entry.builder, ["/"], builder)

	# the name of a builder is what its signer says: it counts from those who may say it
	some signer in lib.array_or_empty(dossier.evidence.provenance.facts.signers)
	signer in entry.signers
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
