# METADATA
# title: A dossier every gate allows, to spoil one thing at a time
package registry.good_test

digest := concat("", ["sha256:", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"])

other := concat("", ["sha256:", "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"])

policy := concat("", ["sha256:", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"])

actions := {
	"accept": {"from": "None", "to": "Candidate"},
	"promote": {"from": "Staging", "to": "Approved"},
	"download": {"door": "registry"},
	"alias": {"alias": "champion", "from_version": 2, "to_version": 3},
	"withdraw": {"from": "Approved", "to": "Revoked", "reason": "leaks personal data"},
}

stages := {"accept": "None", "promote": "Staging", "download": "Approved", "alias": "Approved", "withdraw": "Approved"}

proved(facts) := {"status": "passed", "facts": facts, "problem": ""}

evidence := {
	"signature": proved({}),
	"provenance": proved({}),
	"test_result": proved({"result": "PASSED"}),
	"sbom": proved({"pins_checked": true, "unresolved": []}),
	"vulnerabilities": proved({"vulnerabilities": [
		{"id": "CVE-2026-1", "severity": "LOW", "cvss": 3.1, "component": "numpy 2.1", "kev": false, "epss": 0.01},
		{"id": "CVE-2026-2", "severity": "medium", "cvss": null, "component": "scipy 1.9", "kev": false, "epss": null},
	]}),
	"model_card": proved({"complete": true, "risk_tier": "high"}),
	"dataset": proved({}),
	"canary": proved({"result": "PROCEED"}),
	"malware": proved({"verdict": "clean", "findings": []}),
	"licences": proved({"licences": []}),
	"layout": proved({}),
}

approval(person, role) := {
	"person": person,
	"role": role,
	"decision": "approve",
	"model_digest": digest,
	"policy_digest": policy,
	"at": "2026-11-20T00:00:00.000000Z",
}

dossier(gate) := {
	"schema": 1,
	"gate": gate,
	"actor": {"id": "ann", "roles": ["security"], "admin": false, "authenticated": true},
	"action": actions[gate],
	"subject": {
		"name": "churn",
		"version": 3,
		"workspace": "default",
		"uid": "u1",
		"stage": stages[gate],
		"digest": digest,
		"submitter": "dora",
		"blocked": false,
		"policy_digest": policy,
		"quarantined_from": null,
	},
	"evidence": evidence,
	"attached": [{"name": "model.sig", "digest": digest}],
	"approvals": [approval("sam", "security"), approval("pia", "product")],
	"runtime": {"policy_digest": policy, "accepted_policy_digests": [policy]},
	"now": "2026-11-21T03:04:05.000006Z",
}

# the dossier with one value changed or removed; paths as in RFC 6901
changed(gate, path, value) := json.patch(dossier(gate), [{"op": "add", "path": path, "value": value}])

without(gate, path) := json.patch(dossier(gate), [{"op": "remove", "path": path}])

codes(decision) := {reason.code | some reason in decision.reasons}

# the failed checks and the reasons are the same codes
refused_for(decision, expected) if {
	decision.allow == false
	codes(decision) == expected
	{code | some code, ok in decision.checks; ok == false} == expected
}
