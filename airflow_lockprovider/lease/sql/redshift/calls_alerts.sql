-- What the ledger of alerts sends. A name, then one statement; a list stands for several values.

-- name: lock_alert_mutex
lock :"schema".alert_mutex

-- name: alert_now
select getdate() as now

-- name: alerts_of
select alert_key, title, is_open, announced, occurrences, first_seen, last_seen, told, told_occurrences, told_at, due_at
from :"schema".alert where alert_key in (%(alert_keys)s)

-- name: alerts_that_are_open
select alert_key, title, is_open, announced, occurrences, first_seen, last_seen, told, told_occurrences, told_at, due_at
from :"schema".alert where is_open

-- name: new_alert
insert into :"schema".alert
    (alert_key, title, is_open, announced, occurrences, first_seen, last_seen, told, told_occurrences, told_at, due_at)
values
    (%(alert_key)s, %(title)s, %(is_open)s, %(announced)s, %(occurrences)s, %(first_seen)s, %(last_seen)s, %(told)s,
     %(told_occurrences)s, %(told_at)s, %(due_at)s)

-- name: alert
update :"schema".alert
set title = %(title)s, is_open = %(is_open)s, announced = %(announced)s, occurrences = %(occurrences)s,
    first_seen = %(first_seen)s, last_seen = %(last_seen)s, told = %(told)s, told_occurrences = %(told_occurrences)s,
    told_at = %(told_at)s, due_at = %(due_at)s
where alert_key = %(alert_key)s

-- name: alert_occurrence
select seen_at from :"schema".alert_occurrence where alert_key = %(alert_key)s and occurrence = %(occurrence)s limit 1

-- name: new_alert_occurrence
insert into :"schema".alert_occurrence (alert_key, occurrence, part, is_open, seen_at)
values (%(alert_key)s, %(occurrence)s, %(part)s, true, %(seen_at)s)

-- name: forget_alert_occurrences
delete from :"schema".alert_occurrence where seen_at < %(before)s

-- name: alert_parts
select part, max(seen_at) as seen_at from :"schema".alert_occurrence
where alert_key = %(alert_key)s and is_open group by part

-- name: alert_parts_work
update :"schema".alert_occurrence set is_open = false
where alert_key = %(alert_key)s and is_open and part in (%(parts)s)
