-- What the Locks page reads. A filter that is '' does not filter: untyped nulls are no good with every driver.

-- name: page_rows
select lock_name, capacity, paused, note, waiters, token, owner_id, owner, state, units, shared, context, created_at,
       expires_at, held_seconds, expires_in_seconds, ttl_seconds
from :"schema".locks where token is not null or paused or waiters > 0 or lock_name = %(lock_name)s

-- name: page_waiting
select lock_name, context from :"schema".lock_queue

-- name: page_events
select e.event_id, e.at, e.lock_name, e.token, e.owner_id, e.owner, e.event, e.units, e.waited, e.held, e.actor, e.reason,
       e.context
from :"schema".lease_event e
where e.event_id < %(before)s
  and (%(lock_name)s = '' or e.lock_name = %(lock_name)s)
  and (%(dag_id)s = '' or json_extract_path_text(e.context, 'dag_id', true) = %(dag_id)s)
  and (%(run_id)s = '' or json_extract_path_text(e.context, 'run_id', true) = %(run_id)s)
  and (%(task_id)s = '' or json_extract_path_text(e.context, 'task_id', true) = %(task_id)s)
  and (%(map_index)s = '' or json_extract_path_text(e.context, 'map_index', true) = %(map_index)s)
order by e.event_id desc limit %(limit)s

-- name: page_lock_stats
select e.lock_name,
       sum(case when e.event in ('granted', 'confirmed') then 1 else 0 end) as grants,
       avg(case when e.event in ('released', 'revoked', 'expired') then e.held end) as held_avg,
       cast(null as double precision) as held_p95,
       sum(case when e.event in ('released', 'revoked', 'expired', 'adopted') then e.held end) as held_total,
       avg(case when e.event in ('granted', 'confirmed') then e.waited end) as waited_avg,
       max(case when e.event in ('granted', 'confirmed') then e.waited end) as waited_max,
       sum(case when e.event = 'expired' then 1 else 0 end) as expired,
       sum(case when e.event = 'lapsed' then 1 else 0 end) as lapsed,
       sum(case when e.event = 'revoked' then 1 else 0 end) as revoked,
       max(e.at) as last_at
from :"schema".lease_event e
where e.at > %(since)s and (%(lock_name)s = '' or e.lock_name = %(lock_name)s)
group by e.lock_name order by 5 desc nulls last, 1 limit %(limit)s

-- name: page_owner_stats
select o.lock_name, o.dag_id, o.task_id,
       sum(case when o.event in ('granted', 'confirmed') then 1 else 0 end) as grants,
       avg(case when o.event in ('released', 'revoked', 'expired') then o.held end) as held_avg,
       max(case when o.event in ('released', 'revoked', 'expired') then o.held end) as held_max,
       sum(case when o.event in ('released', 'revoked', 'expired', 'adopted') then o.held end) as held_total,
       avg(case when o.event in ('granted', 'confirmed') then o.waited end) as waited_avg,
       max(case when o.event in ('granted', 'confirmed') then o.waited end) as waited_max,
       sum(case when o.event in ('expired', 'revoked') then 1 else 0 end) as lost,
       max(o.at) as last_at
from (
    select e.lock_name, e.event, e.held, e.waited, e.at,
           nullif(json_extract_path_text(e.context, 'dag_id', true), '') as dag_id,
           coalesce(nullif(json_extract_path_text(e.context, 'task_id', true), ''), e.owner) as task_id
    from :"schema".lease_event e where e.at > %(since)s and e.owner <> ''
) o
where (%(lock_name)s = '' or o.lock_name = %(lock_name)s)
  and (%(dag_id)s = '' or o.dag_id = %(dag_id)s)
  and (%(task_id)s = '' or o.task_id = %(task_id)s)
group by o.lock_name, o.dag_id, o.task_id order by 7 desc nulls last, 1, 2, 3 limit %(limit)s
