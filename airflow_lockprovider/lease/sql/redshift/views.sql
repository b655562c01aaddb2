-- For people and dashboards. Durations are seconds. Nobody who reads them touches the mutex.
create view :"schema".locks as
select k.lock_name, l.owner_id, l.owner, l.token, l.state, l.units, l.shared, k.capacity, k.paused,
       l.created_at, l.renewed_at, l.expires_at,
       l.token is not null as held,
       extract(epoch from l.expires_at) - extract(epoch from getdate()) as expires_in,
       extract(epoch from getdate()) - extract(epoch from l.created_at) as held_for,
       coalesce(w.waiters, 0) as waiters,
       l.context, k.note,
       extract(epoch from getdate()) - extract(epoch from l.created_at) as held_seconds,
       extract(epoch from l.expires_at) - extract(epoch from getdate()) as expires_in_seconds,
       l.ttl as ttl_seconds
from :"schema"."lock" k
left join :"schema".lease l on l.lock_name = k.lock_name
left join (select lock_name, count(*) as waiters from :"schema".waiter group by lock_name) w on w.lock_name = k.lock_name;
create view :"schema".lock_queue as
select w.lock_name,
       row_number() over (partition by w.lock_name order by w.priority desc, w.ticket) as "position",
       w.ticket, w.owner_id, w.owner, w.units, w.shared, w.priority, w.created_at,
       extract(epoch from getdate()) - extract(epoch from w.created_at) as waiting_for,
       case when s.seen_at > w.seen_at then s.seen_at else w.seen_at end as seen_at,
       w.context,
       extract(epoch from getdate()) - extract(epoch from w.created_at) as waiting_seconds,
       extract(epoch from getdate()) - extract(epoch from case when s.seen_at > w.seen_at then s.seen_at else w.seen_at end)
           as unseen_seconds
from :"schema".waiter w
left join :"schema".worker_session s on s.session_id = w.worker_session
left join :"schema".lease l on l.lock_name = w.lock_name and l.ticket = w.ticket
    and l.state = 'reserved' and l.expires_at > getdate()
where l.ticket is null;
create view :"schema".lock_stats as
select e.lock_name,
       sum(case when e.event in ('granted', 'confirmed') then 1 else 0 end) as grants,
       avg(case when e.event = 'released' then e.held end) as held_avg_seconds,
       avg(case when e.event in ('granted', 'confirmed') then e.waited end) as waited_avg_seconds,
       max(case when e.event in ('granted', 'confirmed') then e.waited end) as waited_max_seconds,
       sum(case when e.event = 'expired' then 1 else 0 end) as expired,
       sum(case when e.event = 'lapsed' then 1 else 0 end) as lapsed,
       sum(case when e.event = 'revoked' then 1 else 0 end) as revoked,
       max(e.at) as last_event_at
from :"schema".lease_event e group by e.lock_name;
create view :"schema".lock_owners as
select e.lock_name, e.owner,
       sum(case when e.event in ('granted', 'confirmed') then 1 else 0 end) as grants,
       avg(case when e.event = 'released' then e.held end) as held_avg_seconds,
       avg(case when e.event in ('granted', 'confirmed') then e.waited end) as waited_avg_seconds,
       sum(case when e.event = 'expired' then 1 else 0 end) as expired,
       max(e.at) as last_event_at
from :"schema".lease_event e where e.owner <> '' group by e.lock_name, e.owner;
create view :"schema".lock_events as
select e.event_id, e.at, e.lock_name, e.event, e.token, e.owner_id, e.owner,
       coalesce(nullif(json_extract_path_text(e.context, 'dag_id', true), ''), '-') as dag_id,
       coalesce(nullif(json_extract_path_text(e.context, 'task_id', true), ''), e.owner) as task_id,
       e.units, e.waited, e.held, e.actor, e.reason
from :"schema".lease_event e;
