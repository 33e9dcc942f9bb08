# METADATA
# title: Checks that fail and do not deny
# description: >-
#   A check counts unless its mode is warn or shadow, or a waiver in force covers it while it
#   fails. What keeps the registry whole (where a version stands, which bytes it is, whether they
#   are withdrawn, who asks) is enforced whatever the data says; each gate names those checks.
# scope: package
package registry.relief

import data.registry.config
import data.registry.lib

# METADATA
# description: >-
#   the modes of the checks that are not enforced, by code, and the failed checks a waiver covers,
#   each with what the record keeps of the waiver
given(dossier, checks, always) := {"modes": {}, "waived": [], "idle": true, "always": always} if {
	config.modes == {}
	config.check_waivers == []
} else := {"modes": relaxed, "waived": covered(dossier, checks, always, relaxed), "idle": false, "always": always} if {
	relaxed := modes(checks, always)
}

modes(checks, always) := {code: mode |
	relaxable := object.remove(checks, always)
	some code, mode in config.modes
	mode in {"warn", "shadow"}
	code in object.keys(relaxable)
}

# a check that does not count anyway needs no waiver
covered(dossier, checks, always, relaxed) := [entry |
	coverable := object.remove(checks, always | object.keys(relaxed))
	some waiver in waivers(dossier).in_force
	code := waiver.check
	coverable[code] == false
	entry := {
		"code": code,
		"waiver": waiver.id,
		"owner": waiver.owner,
		"approver": waiver.approver,
		"expires": waiver.expires,
	}
]

# METADATA
# description: waivers of whole checks for a model of this name
waivers(dossier) := lib.waivers(dossier, config.check_waivers, ["check"])

# METADATA
# description: the checks that decide
counting(checks, relief) := checks if {
	relief.modes == {}
	relief.waived == []
} else := object.remove(checks, object.keys(relief.modes) | {entry.code | some entry in relief.waived})

# METADATA
# description: what the failed checks in this mode would have said
would_say(mode, checks, texts, relief) := lib.reasons({code: checks[code] | some code, m in relief.modes; m == mode}, texts)

# METADATA
# description: >-
#   what is said about the failed checks: those that count are reasons, those in warn mode are
#   warnings, and those in shadow mode are only recorded
told(dossier, checks, relief, texts) := {
	"reasons": lib.reasons(counting(checks, relief), texts),
	"shadow": would_say("shadow", checks, texts, relief),
	"warnings": ({w | some w in would_say("warn", checks, texts, relief)} | waiver_warnings(dossier, checks, relief.always)),
}

# METADATA
# description: >-
#   what ran out, is about to, or does not count is worth a word, where the check it names is
#   asked; one that names what no waiver covers is told that it does nothing
waiver_warnings(dossier, checks, always) := set() if {
	count(config.check_waivers) == 0
} else := lib.waiver_warnings(mentioned, {"expired": "WVR-101", "incomplete": "WVR-102", "expiring": "WVR-103"}) | pointless(mentioned, always) if {
	found := waivers(dossier)
	asked := object.keys(checks)
	mentioned := object.union(
		{word: [w | some w in found[word]; w.check in asked] | some word in ["in_force", "expired", "expiring"]},
		{"incomplete": found.incomplete},
	)
}

pointless(waivers, always) := {{"code": "WVR-104", "message": concat("", ["the waiver ", w.id, " does nothing: ", w.check, " is enforced whatever the data says"])} |
	some w in waivers.in_force
	w.check in always
}
