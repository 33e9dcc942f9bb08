# When something may be done: change tickets and freezes. Judged again nothing moves, so they say
# nothing then.
package registry.library

import data.registry.lib

default change_ticket_holds(_, _) := false

# METADATA
# title: An approved change, in its window
# description: >-
#   The signed change ticket is approved, its window has begun and is not over, and its system is
#   one of systems, where they are named.
# custom:
#   code: LIB-011
#   data: library.change_ticket
#   evidence: [change_ticket]
change_ticket_holds(dossier, _) if lib.judged_again(dossier)

change_ticket_holds(dossier, entry) if {
	lib.passed(dossier, "change_ticket")
	facts := dossier.evidence.change_ticket.facts
	facts.state == "approved"
	lib.identity(facts.id) != ""
	between(dossier, facts.from, facts.to)
	of_system(facts, entry)
}

default between(_, _, _) := false

between(dossier, from, to) if {
	now := lib.instant(dossier.now)
	lib.instant(from) <= now
	now < lib.instant(to)
}

default of_system(_, _) := false

of_system(_, entry) if object.get(entry, "systems", null) == null

of_system(facts, entry) if among(facts.system, entry.systems)

default freeze_holds(_, _) := false

# METADATA
# title: Freeze windows
# description: >-
#   Nothing moves between two instants, or every week on the weekdays named from one time of day to
#   the other (past midnight where the second is not later), in the offset from UTC that is named.
#   People with one of except_roles may. A window nobody can read is closed.
# custom:
#   code: LIB-012
#   data: library.freeze
#   evidence: []
freeze_holds(dossier, _) if lib.judged_again(dossier)

freeze_holds(dossier, entry) if outside(dossier, entry)

freeze_holds(dossier, entry) if lib.has_role(dossier, lib.array_or_empty(entry.except_roles))

default outside(_, _) := false

outside(dossier, entry) if {
	object.get(entry, "weekdays", null) == null
	lib.instant(entry.from) < lib.instant(entry.to)
	lib.instant(dossier.now) < lib.instant(entry.from)
}

outside(dossier, entry) if {
	object.get(entry, "weekdays", null) == null
	lib.instant(entry.from) < lib.instant(entry.to)
	lib.instant(dossier.now) >= lib.instant(entry.to)
}

outside(dossier, entry) if {
	is_array(entry.weekdays)
	now := in_the_week(lib.instant(dossier.now))
	every weekday in entry.weekdays {
		span := daily(date(weekday), entry)
		missed(now, span)
	}
}

# the week of Monday the 5th of January 1970 stands for all weeks; days are 86,400 s in both engines
in_the_week(instant) := ((instant - 345600000000000) % 604800000000000) + 345600000000000

date(weekday) := {
	"monday": "1970-01-05",
	"tuesday": "1970-01-06",
	"wednesday": "1970-01-07",
	"thursday": "1970-01-08",
	"friday": "1970-01-09",
	"saturday": "1970-01-10",
	"sunday": "1970-01-11",
}[weekday]

# nanoseconds from when to when
daily(day, entry) := [from, ending(from, to)] if {
	from := clock(day, entry.from, entry)
	to := clock(day, entry.to, entry)
}

clock(day, time_of_day, entry) := time.parse_rfc3339_ns(concat("", [day, "T", time_of_day, ":00", offset])) if {
	offset := object.get(entry, "utc_offset", "Z")
	is_string(time_of_day)
	is_string(offset)
	regex.match(`^([01][0-9]|2[0-3]):[0-5][0-9]$`, time_of_day)
	regex.match(`^(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$`, offset)
}

ending(from, to) := to if {
	from < to
} else := to + 86400000000000

# a window may reach into the week before or after the one it is counted in
default missed(_, _) := false

missed(now, [from, to]) if {
	every shift in [-604800000000000, 0, 604800000000000] {
		clear_of(now + shift, from, to)
	}
}

default clear_of(_, _, _) := false

clear_of(now, from, _) if now < from

clear_of(now, _, to) if now >= to

change_ticket_text(_, _) := {
	"path": "evidence.change_ticket",
	"message": "no signed change ticket is approved for now",
	"fix": "have the change approved, then in its window: mlflow-governance attest {name}/{version} --predicate ticket.json --type change-ticket --key KEY.pem",
}

freeze_text(_, failing) := {
	"path": "now",
	"message": told("nothing moves in a freeze window", [entry.reason | some entry in failing; is_object(entry)]),
	"fix": concat("", [
		"wait until it is over",
		lib.listing(", or ask one of: ", [role | some entry in failing; is_object(entry); some role in lib.array_or_empty(entry.except_roles)]),
	]),
}
