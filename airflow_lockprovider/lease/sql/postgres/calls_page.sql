-- What the Locks page reads. A name, then one statement. Only views and the history: a reader's rights will do.
-- A filter that is null does not filter. position() rather than like: nobody has to escape anything.

-- name: page_locks
-- One row per lease, or per lock that is paused, waited for or asked for by its name. A filter by task also shows the
-- locks it waits for. The counts are in each row; without any row to show there is one of them alone.
with chosen as materialized (
    select k.*,
           case %(mark)s
               when 'late' then k.late or k.expired
               when 'too_long' then k.too_long
               when 'draining' then k.draining
               when 'paused' then k.paused
               when 'waited' then k.waiters > 0
               else true
           end as marked
    from (
        select l.lock_name, l.capacity, l.paused, l.note, l.waiters, l.token, l.owner_id, l.owner, l.state, l.units, l.shared,
               l.context, l.created_at, l.expires_at, l.held_seconds, l.expires_in_seconds, l.ttl_seconds,
               l.state in ('held', 'reserved') and l.expires_in_seconds <= 0 as expired,
               l.state = 'held' and l.expires_in_seconds > 0
                   and l.expires_in_seconds < l.ttl_seconds - 2 * coalesce(%(renew_every)s::float8, l.ttl_seconds / 4) as late,
               l.state = 'held' and l.expires_in_seconds > 0
                   and coalesce(l.held_seconds > coalesce((l.context ->> 'expected_hold')::float8, %(watch_held)s::float8), false)
                   as too_long,
               l.state not in ('held', 'reserved') as draining
        from :"schema".locks l
        where (l.held or l.paused or l.waiters > 0 or %(lock_name)s::text is not null)
          and (%(lock_name)s::text is null or l.lock_name = %(lock_name)s)
          and (%(search)s::text is null
               or position(lower(%(search)s) in lower(l.lock_name)) > 0
               or position(lower(%(search)s) in lower(l.owner)) > 0
               or position(lower(%(search)s) in lower(l.note)) > 0)
          and (%(dag_id)s::text is null
               or ((l.context ->> 'dag_id') = %(dag_id)s
                   and (%(run_id)s::text is null or (l.context ->> 'run_id') = %(run_id)s)
                   and (%(task_id)s::text is null or (l.context ->> 'task_id') = %(task_id)s)
                   and (%(map_index)s::text is null or (l.context ->> 'map_index') = %(map_index)s))
               or l.lock_name in (
                   select q.lock_name from :"schema".lock_queue q
                   where (q.context ->> 'dag_id') = %(dag_id)s
                     and (%(run_id)s::text is null or (q.context ->> 'run_id') = %(run_id)s)
                     and (%(task_id)s::text is null or (q.context ->> 'task_id') = %(task_id)s)
                     and (%(map_index)s::text is null or (q.context ->> 'map_index') = %(map_index)s)))
    ) k
), counted as (
    select count(c.token) as all_leases,
           count(*) filter (where c.late or c.expired) as all_late,
           count(*) filter (where c.too_long) as all_too_long,
           count(*) filter (where c.draining) as all_draining,
           count(*) filter (where c.paused) as all_paused,
           count(*) as all_rows,
           count(*) filter (where c.marked) as matching
    from chosen c
), page as (
    -- Only the rows of the page are put in order: the first so many of ten thousand cost no sort of them all.
    select c.*,
           case when not %(descending)s::boolean then
               case %(sort)s when 'lock' then c.lock_name when 'owner' then c.owner when 'state' then c.state end
               end as text_up,
           case when %(descending)s::boolean then
               case %(sort)s when 'lock' then c.lock_name when 'owner' then c.owner when 'state' then c.state end
               end as text_down,
           case when %(descending)s::boolean then -1 else 1 end
               * case %(sort)s when 'held_for' then c.held_seconds when 'expires_in' then c.expires_in_seconds
                               when 'token' then c.token when 'units' then c.units when 'waiters' then c.waiters
               end as figure
    from chosen c
    where c.marked
    order by text_up, text_down desc, figure, c.lock_name, c.token
    limit %(limit)s::integer offset %(offset)s::integer
)
select p.*, n.* from counted n left join page p on true
order by p.text_up, p.text_down desc, p.figure, p.lock_name, p.token

-- name: page_line
-- The first of the line that are wanted, and who stands before them on their locks: that, too, is a reason to wait.
-- With a filter by task, who waits for one of the named locks is wanted, too: they are on the page.
with line as materialized (
    select q.ticket, q.lock_name, q.owner_id, q.owner, q.units, q.shared, q.priority, q.created_at,
           q.waiting_seconds as waited, q."position"::integer,
           q.seen_at > clock_timestamp() - make_interval(secs => %(skip_after)s::float8) as alive, q.context,
           (%(search)s::text is null
               or position(lower(%(search)s) in lower(q.lock_name)) > 0
               or position(lower(%(search)s) in lower(q.owner)) > 0)
           and (%(dag_id)s::text is null
               or q.lock_name = any(%(lock_names)s::text[])
               or coalesce((q.context ->> 'dag_id') = %(dag_id)s
                   and (%(run_id)s::text is null or (q.context ->> 'run_id') = %(run_id)s)
                   and (%(task_id)s::text is null or (q.context ->> 'task_id') = %(task_id)s)
                   and (%(map_index)s::text is null or (q.context ->> 'map_index') = %(map_index)s), false)) as wanted
    from :"schema".lock_queue q
    where %(lock_name)s::text is null or q.lock_name = %(lock_name)s
), first as (
    select l.lock_name, l."position" from line l where l.wanted
    order by l.lock_name, l."position" limit %(limit)s::integer
), reach as (
    select f.lock_name, max(f."position") as place from first f group by f.lock_name
)
select l.*, (select count(*) from line w where w.wanted) as matching
from line l join reach r on r.lock_name = l.lock_name and l."position" <= r.place
order by l.lock_name, l."position"

-- name: page_events
-- Newest first. A filter by task looks through the latest 50,000 events only: history knows no task by an index.
select e.event_id, e.at, e.lock_name, e.token, e.owner_id, e.owner, e.event, e.units, e.waited, e.held, e.actor, e.reason,
       e.context
from :"schema".lease_event e
where e.event <> 'guarded'
  and (%(lock_name)s::text is null or e.lock_name = %(lock_name)s)
  and (%(before)s::bigint is null or e.event_id < %(before)s)
  and (%(dag_id)s::text is null
       or (e.event_id > (select max(n.event_id) from :"schema".lease_event n) - 50000
           and (e.context ->> 'dag_id') = %(dag_id)s
           and (%(run_id)s::text is null or (e.context ->> 'run_id') = %(run_id)s)
           and (%(task_id)s::text is null or (e.context ->> 'task_id') = %(task_id)s)
           and (%(map_index)s::text is null or (e.context ->> 'map_index') = %(map_index)s)))
order by e.event_id desc
limit %(limit)s::integer

-- name: page_lock_stats
-- statement_timestamp() stands still: the planner knows how much of the history is meant, and when the index by time is of
-- use. "offset 0" keeps the inner rows as they are: an event is compared once, not for every sum. Percentiles need all
-- values in order, so they are looked up for the rows that are shown.
with by_lock as materialized (
    select u.lock_name,
           count(*) filter (where u.begun) as grants,
           avg(u.held) filter (where u.ended) as held_avg,
           sum(u.held) filter (where u.ended or u.event = 'adopted') as held_total,
           avg(u.waited) filter (where u.begun) as waited_avg,
           max(u.waited) filter (where u.begun) as waited_max,
           count(*) filter (where u.event = 'expired') as expired,
           count(*) filter (where u.event = 'lapsed') as lapsed,
           count(*) filter (where u.event = 'revoked') as revoked,
           max(u.at) as last_at
    from (
        select e.lock_name, e.event, e.at, e.held, e.waited,
               e.event in ('granted', 'confirmed') as begun, e.event in ('released', 'revoked', 'expired') as ended
        from :"schema".lease_event e
        where e.at > statement_timestamp() - make_interval(secs => %(seconds)s::float8)
          and (%(lock_name)s::text is null or e.lock_name = %(lock_name)s)
        offset 0
    ) u
    group by u.lock_name
    order by held_total desc nulls last, u.lock_name
    limit %(limit)s::integer
)
select l.lock_name, l.grants, l.held_avg, p.held_p95, l.held_total, l.waited_avg, l.waited_max, l.expired, l.lapsed, l.revoked,
       l.last_at
from by_lock l
left join (
    select e.lock_name, percentile_cont(0.95) within group (order by e.held) as held_p95
    from :"schema".lease_event e
    where e.at > statement_timestamp() - make_interval(secs => %(seconds)s::float8)
      and e.lock_name in (select s.lock_name from by_lock s)
      and e.event in ('released', 'revoked', 'expired')
    group by e.lock_name
) p on p.lock_name = l.lock_name
order by l.held_total desc nulls last, l.lock_name

-- name: page_owner_stats
-- As above.
select u.lock_name, u.dag_id, u.task_id,
       count(*) filter (where u.begun) as grants,
       avg(u.held) filter (where u.ended) as held_avg,
       max(u.held) filter (where u.ended) as held_max,
       sum(u.held) filter (where u.ended or u.event = 'adopted') as held_total,
       avg(u.waited) filter (where u.begun) as waited_avg,
       max(u.waited) filter (where u.begun) as waited_max,
       count(*) filter (where u.event in ('expired', 'revoked')) as lost,
       max(u.at) as last_at
from (
    select e.lock_name, e.context ->> 'dag_id' as dag_id, coalesce(e.context ->> 'task_id', e.owner) as task_id,
           e.event, e.at, e.held, e.waited,
           e.event in ('granted', 'confirmed') as begun, e.event in ('released', 'revoked', 'expired') as ended
    from :"schema".lease_event e
    where e.at > statement_timestamp() - make_interval(secs => %(seconds)s::float8)
      and (%(lock_name)s::text is null or e.lock_name = %(lock_name)s)
      and (%(dag_id)s::text is null or (e.context ->> 'dag_id') = %(dag_id)s)
      and (%(task_id)s::text is null or (e.context ->> 'task_id') = %(task_id)s)
      and e.owner <> ''
    offset 0
) u
group by u.lock_name, u.dag_id, u.task_id
order by held_total desc nulls last, u.lock_name, u.dag_id, u.task_id
limit %(limit)s::integer

-- name: queue_growth
-- How long each line was when the span began, in its middle, a quarter before its end, and is now. Who came and who left
-- meanwhile. A request that nobody looks after has left when it was seen last. Only lines in which somebody waits.
with span as materialized (
    select clock_timestamp() as ends
), moments as materialized (
    select s.ends - make_interval(secs => %(seconds)s::float8) as begins,
           s.ends - make_interval(secs => %(seconds)s::float8 / 2) as middle,
           s.ends - make_interval(secs => %(seconds)s::float8 / 4) as late
    from span s
), waiting as materialized (
    select q.lock_name, q.ticket, q.created_at as came, false as served,
           case when q.unseen_seconds >= %(skip_after)s::float8 then q.seen_at end as went
    from :"schema".lock_queue q
    where %(lock_name)s::text is null or q.lock_name = %(lock_name)s
), gone as (
    select e.lock_name, e.ticket, min(e.at - make_interval(secs => e.waited)) as came,
           not bool_or(e.event in ('withdrawn', 'pruned')) as served,
           max(e.at - make_interval(secs => case e.event when 'pruned' then %(prune_after)s::float8 else 0 end)) as went
    from :"schema".lease_event e
    where e.at > (select m.begins from moments m)
      and e.ticket is not null and e.event in ('reserved', 'granted', 'confirmed', 'withdrawn', 'pruned')
      and (%(lock_name)s::text is null or e.lock_name = %(lock_name)s)
      and not exists (select 1 from waiting w where w.lock_name = e.lock_name and w.ticket = e.ticket)
    group by e.lock_name, e.ticket
), requests as (
    select * from waiting union all select lock_name, ticket, came, served, went from gone
), counted as (
    select r.lock_name,
           count(*) filter (where r.came <= m.begins and (r.went is null or r.went > m.begins)) as at_begin,
           count(*) filter (where r.came <= m.middle and (r.went is null or r.went > m.middle)) as at_middle,
           count(*) filter (where r.came <= m.late and (r.went is null or r.went > m.late)) as at_late,
           count(*) filter (where r.went is null) as waiting,
           count(*) filter (where r.came > m.begins) as came,
           count(*) filter (where r.went > m.begins and r.served) as served,
           count(*) filter (where r.went > m.begins and not r.served) as gave_up
    from requests r cross join moments m
    group by r.lock_name
)
select c.*, (select max(l.capacity) from :"schema".locks l where l.lock_name = c.lock_name) as capacity
from counted c where c.waiting > 0 order by c.lock_name
