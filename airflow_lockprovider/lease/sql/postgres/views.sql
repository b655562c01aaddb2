-- For people and dashboards.

create view :"schema".locks as
select k.lock_name, l.owner_id, l.owner, l.token, l.state, l.units, l.shared, k.capacity, k.paused,
       l.created_at, l.renewed_at, l.expires_at,
       l.token is not null as held,
       l.expires_at - clock_timestamp() as expires_in,
       clock_timestamp() - l.created_at as held_for,
       coalesce(w.waiters, 0) as waiters,
       l.context, k.note,
       extract(epoch from clock_timestamp() - l.created_at)::double precision as held_seconds,
       extract(epoch from l.expires_at - clock_timestamp())::double precision as expires_in_seconds,
       l.ttl as ttl_seconds
from :"schema".lock k
left join :"schema".lease l on l.lock_name = k.lock_name
-- Counted in one go, not once per row; for a lock that is asked for by its name only its own line is counted.
left join (select lock_name, count(*) as waiters from :"schema".waiter group by lock_name) w on w.lock_name = k.lock_name;

create view :"schema".lock_queue as
select w.lock_name,
       row_number() over (partition by w.lock_name order by w.priority desc, w.ticket) as "position",
       w.ticket, w.owner_id, w.owner, w.units, w.shared, w.priority, w.created_at,
       clock_timestamp() - w.created_at as waiting_for,
       greatest(w.seen_at, s.seen_at) as seen_at,
       w.context,
       extract(epoch from clock_timestamp() - w.created_at)::double precision as waiting_seconds,
       extract(epoch from clock_timestamp() - greatest(w.seen_at, s.seen_at))::double precision as unseen_seconds
from :"schema".waiter w left join :"schema".worker_session s on s.session_id = w.worker_session
where not exists (
    select 1 from :"schema".lease l where l.lock_name = w.lock_name and l.ticket = w.ticket and l.state = 'reserved' and l.expires_at > clock_timestamp());

create view :"schema".lock_stats as
select e.lock_name,
       count(*) filter (where e.event in ('granted', 'confirmed')) as grants,
       avg(e.held) filter (where e.event = 'released') as held_avg_seconds,
       percentile_cont(0.95) within group (order by e.held) filter (where e.event = 'released') as held_p95_seconds,
       avg(e.waited) filter (where e.event in ('granted', 'confirmed')) as waited_avg_seconds,
       max(e.waited) filter (where e.event in ('granted', 'confirmed')) as waited_max_seconds,
       count(*) filter (where e.event = 'expired') as expired,
       count(*) filter (where e.event = 'lapsed') as lapsed,
       count(*) filter (where e.event = 'revoked') as revoked,
       max(e.at) as last_event_at
from :"schema".lease_event e group by e.lock_name;

create view :"schema".lock_owners as
select e.lock_name, coalesce(e.context ->> 'dag_id', '-') as dag_id, coalesce(e.context ->> 'task_id', e.owner) as task_id,
       count(*) filter (where e.event in ('granted', 'confirmed')) as grants,
       avg(e.held) filter (where e.event = 'released') as held_avg_seconds,
       avg(e.waited) filter (where e.event in ('granted', 'confirmed')) as waited_avg_seconds,
       count(*) filter (where e.event = 'expired') as expired,
       max(e.at) as last_event_at
from :"schema".lease_event e where e.owner <> '' group by 1, 2, 3;

create view :"schema".lock_events as
select e.event_id, e.at, e.lock_name, e.event, e.token, e.owner_id, e.owner,
       coalesce(e.context ->> 'dag_id', '-') as dag_id, coalesce(e.context ->> 'task_id', e.owner) as task_id,
       e.units, e.waited, e.held, e.actor, e.reason
from :"schema".lease_event e;
