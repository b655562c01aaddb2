-- The statements of which a Redshift transaction is made. A name, then one statement; a list stands for several values.

-- name: utc
set timezone to 'UTC'

-- name: patient
set statement_timeout to 10000

-- name: brief
set statement_timeout to 250

-- name: begin
begin

-- name: commit
commit

-- name: rollback
rollback

-- name: lock_mutex
lock :"schema".mutex

-- name: lock_fence
lock :"schema".:fence

-- name: make_schema
create schema if not exists :"schema"

-- name: make_mutex
create table if not exists :"schema".mutex (nothing integer)

-- name: make_version
create table if not exists :"schema".redshift_version (version integer not null, digest varchar(64) not null, applied_at timestamp not null)

-- name: make_fence
create table if not exists :"schema".:fence (nothing integer)

-- name: forget_version
delete from :"schema".redshift_version where version = %(version)s

-- name: record_version
insert into :"schema".redshift_version (version, digest, applied_at) values (%(version)s, %(digest)s, getdate())

-- name: drop_views
drop view if exists :"schema".locks, :"schema".lock_queue, :"schema".lock_stats, :"schema".lock_owners, :"schema".lock_events

-- name: installed
select version, digest from :"schema".redshift_version order by version desc limit 1

-- name: moment
select getdate() as now, c.ticket, c.event, c.token from :"schema".counter c

-- name: count
update :"schema".counter set ticket = %(ticket)s, event = %(event)s, token = %(token)s

-- name: locks
select lock_name, capacity, last_token, paused, note from :"schema"."lock" where lock_name in (%(lock_names)s)

-- name: leases_of
select lock_name, token, owner_id, owner, units, shared, state, ticket, ttl, waited, created_at, renewed_at, expires_at,
       start_by, hold_until, context
from :"schema".lease where lock_name in (%(lock_names)s)

-- name: waiters_of
select w.ticket, w.lock_name, w.owner_id, w.owner, w.units, w.shared, w.priority, w.context, w.created_at, w.seen_at,
       w.worker_session, s.seen_at as session_seen_at
from :"schema".waiter w left join :"schema".worker_session s on s.session_id = w.worker_session
where w.lock_name in (%(lock_names)s)

-- name: names_of_tickets
select ticket, lock_name, owner_id, worker_session from :"schema".waiter where ticket in (%(tickets)s)

-- name: names_of_owner
select ticket, lock_name from :"schema".waiter where owner_id = %(owner_id)s

-- name: leases_of_ticket
select distinct lock_name from :"schema".lease where ticket = %(ticket)s

-- name: leases_of_owner
select distinct lock_name from :"schema".lease where owner_id = %(owner_id)s

-- name: names_of_leases
select distinct lock_name from :"schema".lease

-- name: names_of_waiters
select distinct lock_name from :"schema".waiter

-- name: session
select seen_at from :"schema".worker_session where session_id = %(session_id)s

-- name: new_session
insert into :"schema".worker_session (session_id, seen_at) values (%(session_id)s, %(now)s)

-- name: session_seen
update :"schema".worker_session set seen_at = %(now)s where session_id = %(session_id)s

-- name: forget_sessions
delete from :"schema".worker_session where seen_at <= %(before)s

-- name: new_lock
insert into :"schema"."lock" (lock_name, lock_key, capacity, last_token, paused, created_at)
values (%(lock_name)s, %(lock_key)s, %(capacity)s, 0, false, %(now)s)

-- name: capacity
update :"schema"."lock" set capacity = %(capacity)s where lock_name = %(lock_name)s

-- name: paused
update :"schema"."lock" set paused = %(paused)s, note = %(note)s where lock_name = %(lock_name)s

-- name: last_token
update :"schema"."lock" set last_token = %(token)s where lock_name = %(lock_name)s

-- name: new_lease
insert into :"schema".lease
    (lock_name, lock_key, token, owner_id, owner, units, shared, state, ticket, worker_session, ttl, waited,
     created_at, renewed_at, expires_at, start_by, hold_until, context)
values
    (%(lock_name)s, %(lock_key)s, %(token)s, %(owner_id)s, %(owner)s, %(units)s, %(shared)s, %(state)s, %(ticket)s,
     %(session_id)s, %(ttl)s, %(waited)s, %(created_at)s, %(renewed_at)s, %(expires_at)s, %(start_by)s, %(hold_until)s,
     %(context)s)

-- name: read_back
select token, owner_id, units, shared from :"schema".lease where lock_name = %(lock_name)s

-- name: lease_state
update :"schema".lease set state = %(state)s where lock_name = %(lock_name)s and token = %(token)s

-- name: lease_taken
update :"schema".lease set state = 'released', owner_id = %(owner_id)s, hold_until = %(hold_until)s
where lock_name = %(lock_name)s and token = %(token)s

-- name: hold_ended
update :"schema".lease set hold_until = null where lock_name = %(lock_name)s and token = %(token)s

-- name: lease_held
update :"schema".lease
set state = 'held', ttl = %(ttl)s, renewed_at = %(renewed_at)s, start_by = null, expires_at = %(expires_at)s,
    hold_until = %(hold_until)s, context = %(context)s
where lock_name = %(lock_name)s and token = %(token)s

-- name: renewed
update :"schema".lease
set ttl = %(ttl)s, renewed_at = %(now)s, expires_at = %(expires_at)s,
    start_by = case when state = 'reserved' then cast(%(expires_at)s as timestamp) end
where token in (%(tokens)s) and state in ('held', 'reserved')

-- name: remove_lease
delete from :"schema".lease where lock_name = %(lock_name)s and token = %(token)s

-- name: new_waiter
insert into :"schema".waiter
    (ticket, lock_name, owner_id, owner, units, shared, priority, context, created_at, seen_at)
values
    (%(ticket)s, %(lock_name)s, %(owner_id)s, %(owner)s, %(units)s, %(shared)s, %(priority)s, %(context)s, %(now)s, %(now)s)

-- name: waiter_seen
update :"schema".waiter set seen_at = %(now)s where ticket in (%(tickets)s)

-- name: waiter_taken
update :"schema".waiter set worker_session = %(session_id)s, seen_at = %(now)s where ticket in (%(tickets)s)

-- name: remove_waiter
delete from :"schema".waiter where ticket = %(ticket)s

-- name: new_event
insert into :"schema".lease_event
    (event_id, at, lock_name, token, owner_id, owner, event, ticket, units, waited, held, actor, reason, context)
values
    (%(event_id)s, %(at)s, %(lock_name)s, %(token)s, %(owner_id)s, %(owner)s, %(event)s, %(ticket)s, %(units)s,
     %(waited)s, %(held)s, %(actor)s, %(reason)s, %(context)s)

-- name: endings
select event, actor, reason from :"schema".lease_event
where lock_name = %(lock_name)s and token = %(token)s
  and event in ('released', 'revoked', 'expired', 'lapsed', 'adopted')
order by event_id desc limit 1

-- name: last_event
select event from :"schema".lease_event
where lock_name = %(lock_name)s and owner_id = %(owner_id)s
order by event_id desc limit 1

-- name: history_of
select at, lock_name, token, owner_id, owner, event, waited, held, actor, reason
from :"schema".lease_event where lock_name = %(lock_name)s
order by event_id desc limit %(limit)s

-- name: history
select at, lock_name, token, owner_id, owner, event, waited, held, actor, reason
from :"schema".lease_event
order by event_id desc limit %(limit)s

-- name: lease_of_token
select state, expires_at, getdate() as now from :"schema".lease where lock_name = %(lock_name)s and token = %(token)s

-- name: check_of_guard
select cast(case when count(*) = 1 then '1' else 'the lease is lost, token %(token)s' end as integer) as guarded
from :"schema".lease
where lock_key = '%(lock_key)s' and token = %(token)s and state = 'held' and expires_at > getdate()

-- name: alive
select 1

-- name: fence_pids
select pid from svv_transactions where relation = %(relation)s and granted = 't'

-- name: fence_id
select c."oid" from pg_class c join pg_namespace n on n."oid" = c.relnamespace
where n.nspname = %(schema_name)s and c.relname = %(table_name)s

-- name: terminate
select pg_terminate_backend(%(pid)s)

-- name: done_of
select token, owner_id, owner, done_at from :"schema".done
where lock_name = %(lock_name)s and once_key = %(once_key)s
order by done_at limit 1

-- name: new_done
insert into :"schema".done (lock_name, once_key, token, owner_id, owner, done_at)
values (%(lock_name)s, %(once_key)s, %(token)s, %(owner_id)s, %(owner)s, %(done_at)s)

-- name: remove_done
delete from :"schema".done where lock_name = %(lock_name)s and once_key = %(once_key)s

-- name: count_done
select count(*) as found from :"schema".done where done_at <= %(before)s

-- name: prune_done
delete from :"schema".done where done_at <= %(before)s
