# METADATA
# title: Risk tier and separation of duties
# description: >-
#   The tier in force is the stricter of what the signed model card declares and the floor the
#   organisation sets for the name. A tier that is not free of approval needs two distinct
#   people, one for each of exactly two roles, neither of them the submitter.
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
# description: people by role whose word is for these bytes under the policy in force
approvers(dossier) := {role: people |
	given := binding(dossier)
	some role in config.required_roles
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
# description: true when the tier needs no approval, or two people gave theirs
default sufficient(_, _) := false

sufficient(tier, _) if tier in config.approval_free_tiers

sufficient(_, people) if {
	[first, second] = config.required_roles
	some one in people[first]
	some other in people[second]
	one != other
}

# METADATA
# description: what a person reads; decides nothing
lacking(people) := [role | some role in config.required_roles; count(people[role]) == 0]

problem(tier, missing) := concat("", [
	"risk tier ",
	tier,
	" needs the approval of two people other than the submitter, one as ",
	concat(" and one as ", config.required_roles),
	", for this digest and the policy in force",
	concat("", [concat("", ["; still lacking: ", concat(", ", missing)]) | count(missing) > 0]),
])

# all of them again when one person spoke for both
fix(missing) := commands(missing) if {
	count(missing) > 0
} else := commands(config.required_roles)

commands(roles) := concat("; ", [command |
	some role in roles
	command := concat("", ["mlflow-governance approve {name}/{version} --as ", role, ` --reason "WHY"`])
])
