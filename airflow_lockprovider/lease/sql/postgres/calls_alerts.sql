-- What the ledger of alerts sends. A name, then one statement.

-- name: alert_seen
select * from :"schema".alert_seen(
    %(alert_key)s, %(title)s, %(part)s, %(occurrence)s, %(pauses)s::float8[], %(at)s::timestamptz)

-- name: alert_quiet
select a.alert_key, a.title, a.occurrences, a.first_seen, a.told, a.told_occurrences, a.told_at
from :"schema".alert a
where a.alert_key = %(alert_key)s and a.is_open and a.announced
  and a.due_at > coalesce(%(at)s::timestamptz, clock_timestamp())

-- name: alert_over
select * from :"schema".alert_over(%(alert_keys)s::text[], %(part)s, %(at)s::timestamptz)

-- name: alert_untold
select :"schema".alert_untold(
    %(alert_key)s, %(recovered)s::boolean, %(told_occurrences)s::bigint, %(told_at)s::timestamptz, %(at)s::timestamptz)

-- name: alerts_due
select * from :"schema".alerts_due(%(prefix)s, %(pauses)s::float8[], %(at)s::timestamptz)

-- name: alerts_open
select a.alert_key from :"schema".alert a where a.is_open and starts_with(a.alert_key, %(prefix)s) order by a.alert_key
