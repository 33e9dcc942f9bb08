# METADATA
# title: Risk tier and separation of duties
# description: >-
#   The tier in force is the stricter of what the signed model card declares and the floor the
#   organisation sets for the name. Each tier has its quorum: how many people of which role must
#   approve, all of them different people and none of them the submitter.
# scope: package
package registry.risk

import data.registry.config
import data.registry.lib

# METADATA
# description: the tier in the signed model card; a tier nobody knows is "unknown"
default declared(_) := "unknown"

declared(dossier) := dossier.evidence.model_card.facts.risk_tier if {
	lib.passed(dossier, "model_card")
	dossier.evidence.model_card.facts.risk_tier in {"low", "medium", "high"}
}

# METADATA
# description: the least the organisation asks of a model of this name
default floor(_) := "high"

floor(dossier) := strictest_or_default([object.get(rule, "tier", "") |
	some rule in config.risk_floors
	is_string(dossier.subject.name)
	glob.match(rule.pattern, ["/"], dossier.subject.name)
])

strictest_or_default(tiers) := strictest(tiers) if {
	count(tiers) > 0
} else := config.default_floor

# METADATA
# description: low and medium only by their names; anything else, a misspelling included, is high
default strictest(_) := "high"

strictest(tiers) := "low" if {
	every tier in tiers {
		tier == "low"
	}
} else := "medium" if {
	every tier in tiers {
		tier in {"low", "medium"}
	}
}

# METADATA
# description: the tier in force
tier(dossier) := strictest([declared(dossier), floor(dossier)])

# METADATA
# description: how many people of which role the tier asks for; null where nobody can read it
default quorum(_) := null

quorum(tier) := config.quorum[tier] if is_object(config.quorum[tier])

# METADATA
# description: people by each role of the quorum, whose word is for these bytes under the policy in force
approvers(dossier, asked) := {role: people |
	is_object(asked)
	given := binding(dossier)
	some role, _ in asked
	people := {approval.person | some approval in given; approval.role == role}
}

# null equals null, so both digests must be texts; without a submitter nobody is distinct from one
binding(dossier) := [{"person": person, "role": approval.role} |
	is_string(dossier.subject.digest)
	is_string(dossier.runtime.policy_digest)
	submitter := lib.identity(dossier.subject.submitter)
	submitter != ""
	some approval in lib.array_or_empty(dossier.approvals)
	approval.decision == "approve"
	approval.model_digest == dossier.subject.digest
	approval.policy_digest == dossier.runtime.policy_digest
	person := lib.identity(approval.person)
	person != ""
	person != submitter
]

# METADATA
# description: true when each role of the quorum has its people, and nobody is counted twice
default sufficient(_, _) := false

sufficient(asked, people) if {
	is_object(asked)
	lacking(asked, people) == []
	spread(asked, people)
}

# somebody who spoke in two roles counts in one of them: whichever roles are taken together need
# as many people together as each of them alone (Hall); more than four roles are not taken apart
default spread(_, _) := false

spread(asked, people) if {
	count({person | some given in people; some person in given}) == sum([count(given) | some given in people])
} else if {
	count(asked) <= 4
	every roles in {{a, b, c, d} | some a, _ in asked; some b, _ in asked; some c, _ in asked; some d, _ in asked} {
		count({person | some role in roles; some person in people[role]}) >= sum([asked[role] | some role in roles])
	}
}

# METADATA
# description: the roles that have fewer people than asked for; how many that is must be a number
lacking(asked, people) := [role | is_object(asked); some role, number in asked; reached(people[role], number) == false]

default reached(_, _) := false

reached(people, number) if {
	is_number(number)
	count(people) >= number
}

# METADATA
# description: what a person reads; decides nothing
problem(tier, asked, missing) := concat("", [
	"risk tier ",
	tier,
	" needs the approval of different people other than the submitter (",
	concat(", ", [sprintf("%v as %v", [number, role]) | is_object(asked); some role, number in asked]),
	") for this digest and the policy in force",
	concat("", [concat("", ["; still lacking: ", concat(", ", missing)]) | count(missing) > 0]),
])

# all of them again when one person spoke for several
fix(asked, missing) := commands(missing) if {
	count(missing) > 0
} else := commands([role | some role, _ in asked]) if {
	is_object(asked)
} else := "have security name a quorum for this tier in data.json"

commands(roles) := concat("; ", [command |
	some role in roles
	command := concat("", ["mlflow-governance approve {name}/{version} --as ", role, ` --reason "WHY"`])
])
