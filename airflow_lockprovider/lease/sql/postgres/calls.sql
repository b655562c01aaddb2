-- What the Python engine sends. A name, then one statement.

-- name: init_lock
-- Two people may run init at the same moment.
select pg_advisory_xact_lock(hashtextextended('lockprovider init ' || :'schema', 0))

-- name: installed
select version, digest from :"schema".schema_version order by version desc limit 1

-- name: record_version
insert into :"schema".schema_version (version, digest) values (%(version)s, %(digest)s)
on conflict (version) do update set digest = excluded.digest, applied_at = clock_timestamp()

-- name: missing_roles
select string_agg(:'schema' || '_' || kind, ', ') as roles
from unnest(array['reader', 'writer', 'worker', 'admin']) kind
where not exists (select 1 from pg_catalog.pg_roles r where r.rolname = :'schema' || '_' || kind)

-- name: declare
select :"schema".declare(%(lock_names)s::text[], %(capacity)s::integer[])

-- name: set_capacity
select :"schema".set_capacity(%(lock_name)s, %(capacity)s::integer)

-- name: try_acquire
select * from :"schema".try_acquire(
    %(lock_names)s::text[], %(owner_id)s, %(owner)s, %(ttl)s::float8, %(units)s::integer[],
    %(capacity)s::integer[], %(shared)s::boolean[], %(context)s::jsonb, %(skip_after)s::float8, %(hold_at_least)s::float8,
    %(again)s::boolean)

-- name: enqueue
select * from :"schema".enqueue(
    %(lock_names)s::text[], %(owner_id)s, %(owner)s, %(units)s::integer[], %(capacity)s::integer[],
    %(shared)s::boolean[], %(priority)s::integer, %(context)s::jsonb)

-- name: enqueue_and_listen
select * from :"schema".enqueue(
    %(lock_names)s::text[], %(owner_id)s, %(owner)s, %(units)s::integer[], %(capacity)s::integer[],
    %(shared)s::boolean[], %(priority)s::integer, %(context)s::jsonb, true)

-- name: poll
select * from :"schema".poll(%(session_id)s, %(tickets)s::bigint[], %(skip_after)s::float8)

-- name: reserve
select * from :"schema".reserve(%(ticket)s::bigint, %(session_id)s, %(handover_ttl)s::float8, %(skip_after)s::float8)

-- name: confirm
select * from :"schema".confirm(
    %(ticket)s::bigint, %(owner_id)s, %(ttl)s::float8, %(context)s::jsonb, %(skip_after)s::float8,
    %(hold_at_least)s::float8)

-- name: confirm_and_unlisten
select * from :"schema".confirm(
    %(ticket)s::bigint, %(owner_id)s, %(ttl)s::float8, %(context)s::jsonb, %(skip_after)s::float8,
    %(hold_at_least)s::float8, true)

-- name: withdraw
select :"schema".withdraw(%(ticket)s::bigint, %(owner_id)s)

-- name: renew
select * from :"schema".renew(%(lock_names)s::text[], %(tokens)s::bigint[], %(owner_ids)s::text[], %(ttls)s::float8[])

-- name: release
-- Need not be on disk before the answer: what a crash of the server takes back ends by its ttl, and the next grant, which
-- must be on disk, takes everything before it along.
select case when set_config('synchronous_commit', 'off', true) = 'off'
       then :"schema".release(%(lock_name)s, %(token)s::bigint, %(owner_id)s) end

-- name: adopt
select * from :"schema".adopt(
    %(lock_names)s::text[], %(owner_id)s, %(previous_owner_id)s, %(owner)s, %(ttl)s::float8, %(context)s::jsonb)

-- name: revoke
select * from :"schema".revoke(%(lock_name)s, %(actor)s, %(reason)s, %(token)s::bigint, %(terminate)s::boolean)

-- name: pause
select :"schema".pause(%(lock_name)s, %(actor)s, %(reason)s)

-- name: resume
select :"schema".resume(%(lock_name)s, %(actor)s, %(reason)s)

-- name: listen
listen :"schema"

-- name: unlisten
unlisten :"schema"

-- name: clean_up
select :"schema".clean_up(%(prune_after)s::float8)

-- name: guard
select :"schema".guard(%(lock_name)s, %(token)s::bigint)

-- name: still_held
select :"schema".still_held(%(lock_name)s, %(token)s::bigint)

-- name: leases
select 'granted' as outcome, lock_name, token, owner_id, owner, units, shared, state, ttl,
       extract(epoch from expires_at - clock_timestamp())::float8 as remaining, created_at, expires_at, context, ticket,
       waited, 0 as "position", false as paused
from :"schema".lease
where (%(lock_name)s::text is null or lock_name = %(lock_name)s)
  and (%(owner_id)s::text is null or owner_id = %(owner_id)s)
  and state in ('held', 'reserved') and expires_at > clock_timestamp()
order by lock_name, token

-- name: queue
select q.ticket, q.lock_name, q.owner_id, q.owner, q.units, q.shared, q.priority, q.created_at,
       extract(epoch from q.waiting_for)::float8 as waited, q."position"::integer,
       q.seen_at > clock_timestamp() - make_interval(secs => %(skip_after)s::float8) as alive, q.context
from :"schema".lock_queue q
where (%(lock_name)s::text is null or q.lock_name = %(lock_name)s)
  and (%(owner_id)s::text is null or q.owner_id = %(owner_id)s)
order by q.lock_name, q."position"

-- name: holders
select h.lock_name, h.capacity, h.paused, h.note, h.token, h.owner_id, h.owner, h.units, h.shared, h.state
from :"schema".locks h
where case when %(lock_name)s::text is null then h.waiters > 0 else h.lock_name = %(lock_name)s end
order by h.lock_name, h.token

-- name: history
select at, lock_name, token, owner_id, owner, event, waited, held, actor, reason
from :"schema".lease_event
where (%(lock_name)s::text is null or lock_name = %(lock_name)s)
order by event_id desc limit %(limit)s::integer

-- name: last_event
select event from :"schema".lease_event
where lock_name = %(lock_name)s and owner_id = %(owner_id)s and event <> 'guarded'
order by event_id desc limit 1

-- name: done
select k.capacity, d.token, d.owner_id, d.owner, d.done_at
from (select 1) one
left join :"schema".lock k on k.lock_name = %(lock_name)s
left join :"schema".done d on d.lock_name = %(lock_name)s and d.once_key = %(once_key)s

-- name: mark_done
select * from :"schema".mark_done(%(lock_name)s, %(token)s::bigint, %(owner_id)s, %(once_key)s)

-- name: forget_done
select :"schema".forget_done(%(lock_name)s::text, %(once_key)s::text, %(older_than)s::float8)
