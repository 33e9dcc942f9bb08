# METADATA
# title: What every gate shares
# description: >-
#   House rules. (1) A gate allows by a conjunction of positive checks, each with a default of
#   false; never because nothing objected. (2) Negation stands before a rule only. (3) A message
#   never decides. (4) What comes from input passes a type guard. (5) Time comes from the input.
#   Shared packages hold functions of the dossier, not rules. The embedded engine evaluates every
#   rule of a package it meets, and a download cannot wait for the approvals of a promotion.
# scope: package
package registry.lib

import data.registry.config

# METADATA
# description: true when a verifier proved this kind of evidence
default passed(_, _) := false

passed(dossier, kind) if dossier.evidence[kind].status == "passed"

# METADATA
# description: the canonical person, so that case and spaces around it make nobody else; empty for what is no name
default identity(_) := ""

identity(name) := lower(trim_space(name)) if is_string(name)

# METADATA
# description: x when it is an array, else [], so that "some x in" never meets another type
default array_or_empty(_) := []

array_or_empty(x) := x if is_array(x)

# METADATA
# description: what ^sha256:[0-9a-f]{64}$ says, at a third of its price
default well_formed(_) := false

well_formed(digest) if {
	is_string(digest)
	count(digest) == 71
	trim_right(digest, "0123456789abcdef") == "sha256:"
}

default digest_known(_) := false

digest_known(dossier) if well_formed(dossier.subject.digest)

default not_blocked(_) := false

not_blocked(dossier) if dossier.subject.blocked == false

default authenticated(_) := false

authenticated(dossier) if dossier.actor.authenticated == true

default has_role(_, _) := false

has_role(dossier, roles) if {
	some role in array_or_empty(dossier.actor.roles)
	role in roles
}

default model_card_complete(_) := false

model_card_complete(dossier) if {
	passed(dossier, "model_card")
	dossier.evidence.model_card.facts.complete == true
}

# METADATA
# description: true when an SBOM was proved, held to the pins of the model, and names all of them
default sbom_sound(_) := false

sbom_sound(dossier) if {
	passed(dossier, "sbom")
	dossier.evidence.sbom.facts.pins_checked == true
	is_array(dossier.evidence.sbom.facts.unresolved)
	count(unresolved(dossier)) == 0
}

# METADATA
# description: requirements no SBOM can name, such as an address, that nobody tolerates
unresolved(dossier) := [line |
	some line in array_or_empty(dossier.evidence.sbom.facts.unresolved)
	tolerated(line) == false
]

default tolerated(_) := false

tolerated(line) if {
	is_string(line)
	some pattern in config.unresolved_tolerated
	glob.match(pattern, ["\n"], line)
}

# METADATA
# description: true when the steps of the layout were followed, or none is there and none is needed
default layout_acceptable(_) := false

layout_acceptable(dossier) if passed(dossier, "layout")

layout_acceptable(dossier) if {
	dossier.evidence.layout.status == "missing"
	layout_required(dossier) == false
}

# a name that is none is of a model that needs one
default layout_required(_) := true

layout_required(dossier) := false if {
	is_string(dossier.subject.name)
	count([p | some p in config.layout_required; glob.match(p, ["/"], dossier.subject.name)]) == 0
}

# METADATA
# description: a version judged again where it stands; the registry says so, no requester can
default judged_again(_) := false

judged_again(dossier) if {
	dossier.action.again == true
	dossier.subject.stage == dossier.action.to
}

default stage_as_stated(_) := false

stage_as_stated(dossier) if dossier.subject.stage == dossier.action.from

stage_as_stated(dossier) if judged_again(dossier)

default policy_accepted(_) := false

policy_accepted(dossier) if {
	well_formed(dossier.subject.policy_digest)
	is_array(dossier.runtime.accepted_policy_digests)
	dossier.subject.policy_digest in dossier.runtime.accepted_policy_digests
}

# METADATA
# description: >-
#   nanoseconds since 1970 of an instant in the years 2000 to 2199, and nothing for what is none; a
#   day that no calendar has, or one beyond 64 bits, would break one engine and not the other
instant(text) := time.parse_rfc3339_ns(text) if is_instant(text)

default is_instant(_) := false

is_instant(text) if {
	is_string(text)
	regex.match(`^(2[01][0-9]{2}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|(2000|2[01](0[48]|[2468][048]|[13579][26]))-02-29)T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`, text)
}

# METADATA
# description: >-
#   waivers for a model of this name, by whether they are complete and still run; about names what
#   a waiver says besides id, model, owner, approver, reason and expires. Those expiring are in
#   force, too
waivers(dossier, listed, about) := {"in_force": [], "expiring": [], "expired": [], "incomplete": []} if {
	listed == []
} else := {
	"in_force": in_force,
	"expiring": [w | some w in in_force; runs_longer(w, dossier, notice(listed)) == false],
	"expired": [w | some w in complete; runs_longer(w, dossier, 0) == false],
	"incomplete": [w | some w in mine; waiver_complete(w, about) == false],
} if {
	mine := [w | some w in listed; of_another(w, dossier) == false]
	complete := [w | some w in mine; waiver_complete(w, about)]
	in_force := [w | some w in complete; runs_longer(w, dossier, 0)]
}

# a waiver that does not say for which models is nobody's, and everybody is told
default of_another(_, _) := false

of_another(waiver, dossier) if {
	is_object(waiver)
	is_string(waiver.model)
	is_string(dossier.subject.name)
	glob.match(waiver.model, ["/"], dossier.subject.name) == false
}

default notice(_) := 14

notice(_) := config.waiver_notice_days if is_number(config.waiver_notice_days)

default runs_longer(_, _, _) := false

runs_longer(waiver, dossier, days) if {
	is_string(dossier.subject.name)
	instant(waiver.expires) - instant(dossier.now) > days * 86400000000000
}

# nobody's waiver, one without a reason or an end, or one nobody else agreed to, is none
default waiver_complete(_, _) := false

waiver_complete(waiver, about) if {
	is_object(waiver)
	every key in array.concat(["id", "model", "owner", "approver", "reason", "expires"], about) {
		is_string(waiver[key])
		trim_space(waiver[key]) != ""
	}
	identity(waiver.approver) != identity(waiver.owner)
	is_instant(waiver.expires)
}

# METADATA
# description: >-
#   what ran out, is about to, or does not count is worth a word, each under its code
waiver_warnings(waivers, codes) := union({
	{{"code": codes.expired, "message": concat("", ["the waiver ", w.id, " expired at ", w.expires])} | some w in waivers.expired},
	{{"code": codes.expiring, "owner": w.owner, "message": concat("", ["the waiver ", w.id, " of ", w.owner, " expires at ", w.expires])} | some w in waivers.expiring},
	{{"code": codes.incomplete, "message": concat("", ["a waiver is not in force because it lacks an id, model, owner, approver, reason or end, says not what for, or its owner approved it: ", waiver_label(w)])} | some w in waivers.incomplete},
})

default waiver_label(_) := "it has no id"

waiver_label(waiver) := waiver.id if {
	is_object(waiver)
	is_string(waiver.id)
}

# METADATA
# description: >-
#   the checks of this step whose evidence the organisation does not ask for; a step that is not
#   listed asks for all of it. Codes are those of the step by the kind of evidence
default unasked(_, _) := set()

unasked(step, codes) := {code | some code in object.remove(codes, config.required_evidence[step])} if {
	is_array(config.required_evidence[step])
}

# METADATA
# description: the conjunction; every check must be exactly true, and there must be some
default all_pass(_) := false

all_pass(checks) if {ok | some ok in checks} == {true}

# METADATA
# description: the first ten texts of a list, led in; empty for an empty list
listing(lead, values) := concat("", [
	concat("", [lead | count(values) > 0]),
	concat(", ", array.slice([v | some v in values; is_string(v)], 0, 10)),
	concat("", [" and more" | count(values) > 10]),
])

card_problem(dossier) := concat("", [
	"the model card is missing or incomplete",
	listing(": it lacks ", [h | some h in array_or_empty(dossier.evidence.model_card.facts.missing)]),
])

# METADATA
# description: failed checks as reasons; one without a text is still a reason
reasons(checks, texts) := [reason |
	some code, ok in checks
	ok != true
	reason := object.union({"code": code}, object.get(texts, code, {"path": "", "message": code, "fix": ""}))
]
