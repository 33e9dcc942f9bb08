# Which further evidence there must be, and how old evidence may be.
package registry.library

import data.registry.lib

default evidence_holds(_, _) := false

# METADATA
# title: Further evidence
# description: Every kind of evidence named is proved, besides those in required_evidence.
# custom:
#   code: LIB-008
#   data: library.evidence
#   evidence: [all]
evidence_holds(dossier, entry) if {
	is_array(entry.kinds)
	every kind in entry.kinds {
		lib.passed(dossier, kind)
	}
}

default evidence_age_holds(_, _) := false

# METADATA
# title: The age of evidence
# description: >-
#   Every kind of evidence named is proved and at most so many days old, by the instant in it: of
#   provenance when the build ended, of vulnerabilities the newest advisory, of a scan its end (of
#   several the oldest). Evidence without an instant is too old.
# custom:
#   code: LIB-009
#   data: library.evidence_age
#   evidence: [all]
evidence_age_holds(dossier, entry) if {
	is_object(entry.max_days)
	every kind, days in entry.max_days {
		young(dossier, kind, days)
	}
}

default young(_, _, _) := false

young(dossier, kind, days) if {
	lib.passed(dossier, kind)
	moments := dated(kind, dossier.evidence[kind].facts)
	count(moments) > 0
	every at in moments {
		recent(dossier, at, days)
	}
}

dated(kind, facts) := [field(scan, "finished") | some scan in lib.array_or_empty(facts.scans)] if {
	kind == "vulnerability_scan"
} else := [field(facts, instants_by[kind])] if {
	instants_by := {"provenance": "finished_at", "vulnerabilities": "advisories_at"}
	is_string(instants_by[kind])
} else := [field(facts, "at")]

evidence_text(dossier, failing) := {
	"path": "evidence",
	"message": told("evidence the policy asks for is not proved", [kind |
		some entry in failing
		is_object(entry)
		some kind in lib.array_or_empty(entry.kinds)
		lib.passed(dossier, kind) == false
	]),
	"fix": "mlflow-governance attest {name}/{version} --predicate FILE --type TYPE --key KEY.pem",
}

evidence_age_text(dossier, failing) := {
	"path": "evidence",
	"message": told("evidence is missing, undated or older than the policy allows", [kind |
		some entry in failing
		is_object(entry)
		is_object(entry.max_days)
		some kind, days in entry.max_days
		young(dossier, kind, days) == false
	]),
	"fix": "have it made anew, then: mlflow-governance attest {name}/{version} --predicate FILE --type TYPE --key KEY.pem",
}
