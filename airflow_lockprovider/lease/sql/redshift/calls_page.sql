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

-- name: queue_growth
-- How long each line was when the span began, in its middle, a quarter before its end, and is now. Who came and who left
-- meanwhile. A request that nobody looks after has left when it was seen last. Only lines in which somebody waits.
-- Moments are seconds since 1970.
with waiting as (
    select q.lock_name, q.ticket, cast(extract(epoch from q.created_at) as double precision) as came,
           case when q.unseen_seconds >= %(skip_after)s
                then cast(extract(epoch from q.seen_at) as double precision) end as went,
           0 as served
    from :"schema".lock_queue q
    where %(lock_name)s = '' or q.lock_name = %(lock_name)s
), gone as (
    select e.lock_name, e.ticket, min(cast(extract(epoch from e.at) as double precision) - e.waited) as came,
           max(cast(extract(epoch from e.at) as double precision)
               - case when e.event = 'pruned' then %(prune_after)s else 0 end) as went,
           min(case when e.event in ('withdrawn', 'pruned') then 0 else 1 end) as served
    from :"schema".lease_event e
    left join waiting w on w.lock_name = e.lock_name and w.ticket = e.ticket
    where e.at > %(since)s and e.ticket is not null and w.ticket is null
      and e.event in ('reserved', 'granted', 'confirmed', 'withdrawn', 'pruned')
      and (%(lock_name)s = '' or e.lock_name = %(lock_name)s)
    group by e.lock_name, e.ticket
), requests as (
    select lock_name, came, went, served from waiting union all select lock_name, came, went, served from gone
)
select r.lock_name,
       sum(case when r.came <= %(begins)s and (r.went is null or r.went > %(begins)s) then 1 else 0 end) as at_begin,
       sum(case when r.came <= %(middle)s and (r.went is null or r.went > %(middle)s) then 1 else 0 end) as at_middle,
       sum(case when r.came <= %(late)s and (r.went is null or r.went > %(late)s) then 1 else 0 end) as at_late,
       sum(case when r.went is null then 1 else 0 end) as waiting,
       sum(case when r.came > %(begins)s then 1 else 0 end) as came,
       sum(case when r.went > %(begins)s and r.served = 1 then 1 else 0 end) as served,
       sum(case when r.went > %(begins)s and r.served = 0 then 1 else 0 end) as gave_up,
       max(k.capacity) as capacity
from requests r left join :"schema"."lock" k on k.lock_name = r.lock_name
group by r.lock_name
having sum(case when r.went is null then 1 else 0 end) > 0
order by r.lock_name
