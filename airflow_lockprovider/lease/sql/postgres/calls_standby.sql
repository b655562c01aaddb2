-- What the Python engine sends about standby. A name, then one statement.

-- name: linger
select :"schema".linger(
    %(ticket)s::bigint, %(owner_id)s, %(mode)s, %(expected_hold)s::float8, %(settle)s::float8, %(stay)s::float8,
    %(most)s::integer, %(skip_after)s::float8)

-- name: look
select * from :"schema".look(
    %(session_id)s, %(tickets)s::bigint[], %(unsettled)s::bigint[], %(skip_after)s::float8, %(reach)s::float8,
    %(most)s::integer)

-- name: call_up
select :"schema".call_up(
    %(ticket)s::bigint, %(skip_after)s::float8, %(reach)s::float8, %(most)s::integer, %(arrives_within)s::float8)

-- name: stand_by
select :"schema".stand_by(%(ticket)s::bigint, %(owner_id)s, %(stay)s::float8)

-- name: stand_down
select :"schema".stand_down(%(ticket)s::bigint, %(owner_id)s, %(rest)s::float8)

-- name: unwatch
select :"schema".unwatch(%(session_id)s, %(tickets)s::bigint[])

-- name: has_worker
select :"schema".has_worker(%(lock_names)s::text[], %(tokens)s::bigint[], %(owner_ids)s::text[])

-- name: set_deferred
select :"schema".set_deferred(
    %(lock_names)s::text[], %(tokens)s::bigint[], %(owner_ids)s::text[], %(deferred)s::boolean)
