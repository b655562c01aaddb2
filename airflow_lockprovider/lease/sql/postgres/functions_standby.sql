-- Standby: the next in line wait on a worker for the last moments, so that the lock is handed over in milliseconds.
-- Nothing here grants anything. Being called up is kept in the database: there may be several triggerers, and they restart.

-- Seconds from a call-up to the worker that stands there, as it was lately. 3 where nothing is known yet.
create function :"schema"._pick_up() returns double precision
language sql stable as $$
    select least(greatest(coalesce(avg(extract(epoch from s.arrived_at - s.called_at)), 3), 0.5), 30)::double precision
    from (
        select s.called_at, s.arrived_at from :"schema".standby s
        where s.called_at is not null and s.arrived_at >= s.called_at
        order by s.called_at desc limit 20
    ) s
$$;

-- How long one lock is usually held, when its next holder will be done (both in seconds; null: nothing is known), how
-- long it has been held, and whether a holder has no worker now but needs one to finish. A holder's own task tells more
-- than the others do.
create function :"schema"._outlook(p_lock_name text, p_expected double precision)
returns table (hold double precision, remaining double precision, held double precision, needs_worker boolean)
language sql stable as $$
    with recent as materialized (
        select e.held, e.context ->> 'dag_id' as dag_id, e.context ->> 'task_id' as task_id
        from (
            select * from :"schema".lease_event e where e.lock_name = p_lock_name order by e.event_id desc limit 60
        ) e
        where e.event = 'released' and e.held is not null
    ), usual as (
        select coalesce(percentile_cont(0.5) within group (order by r.held), p_expected) as hold from recent r
    ), holder as (
        select l.deferred or l.state = 'reserved' as needs_worker,
               extract(epoch from clock_timestamp() - l.created_at) as held,
               greatest(0, coalesce((
                   select percentile_cont(0.5) within group (order by r.held) from recent r
                   where r.dag_id = l.context ->> 'dag_id' and r.task_id = l.context ->> 'task_id'
               ), u.hold) - extract(epoch from clock_timestamp() - l.created_at)) as remaining
        from :"schema".lease l, usual u
        where l.lock_name = p_lock_name and l.state in ('held', 'reserved') and l.expires_at > clock_timestamp()
    )
    -- greatest() skips nulls: where nothing is known, it must not be read as "at once".
    select u.hold,
           case when not exists (select 1 from holder) then 0
                when u.hold is not null then (select min(h.remaining) from holder h) end,
           coalesce((select max(h.held) from holder h), 0),
           coalesce((select bool_or(h.needs_worker) from holder h), false)
    from usual u
$$;

-- When it is the turn of a request that has p_position living ones before it: seconds, null if nothing is known. Then
-- there is a guess: that everybody needs as long as the holder has had by now, and the holder as long again.
-- barred: somebody needs a worker to finish, or as many as may be are at the ready already, or the lock is paused.
create function :"schema"._turn(p_ticket bigint, p_position integer, p_expected double precision, p_most integer)
returns table (seconds double precision, guess double precision, barred boolean, resting boolean)
language sql stable as $$
    select case when bool_and(t.seconds is not null) then max(t.seconds) end, max(coalesce(t.seconds, t.guess)),
           bool_or(t.barred), bool_or(t.resting)
    from (
        select o.remaining + case when p_position = 0 then 0 else p_position * o.hold / k.capacity end as seconds,
               o.held + p_position * o.held / k.capacity as guess,
               k.paused or o.needs_worker or p_most <= (
                   select count(*) from :"schema".waiter other
                   join :"schema".standby s on s.ticket = other.ticket
                   where other.lock_name = w.lock_name and other.ticket <> p_ticket
                     and s.ready_until > clock_timestamp()
               ) as barred,
               exists (
                   select 1 from :"schema".standby_rest r
                   where r.lock_name = w.lock_name and r.rests_until > clock_timestamp()) as resting
        from :"schema".waiter w
        join :"schema".lock k on k.lock_name = w.lock_name
        cross join lateral :"schema"._outlook(w.lock_name, p_expected) o
        where w.ticket = p_ticket
    ) t
$$;

-- Whether a request that waits elsewhere should come to a worker now. "always": whoever is next in line.
create function :"schema"._is_due(
    p_ticket bigint, p_position integer, p_mode text, p_expected double precision, p_reach double precision, p_most integer
) returns boolean
language sql stable as $$
    select case
        when t.barred then false
        when p_mode = 'always' then p_position = 0
        else not t.resting and coalesce(t.seconds <= :"schema"._pick_up() + p_reach, false)
    end
    from :"schema"._turn(p_ticket, p_position, p_expected, p_most) t
$$;

-- The rows of a ticket's locks, in sorted order, as every decision takes them.
create function :"schema"._locks_of(p_ticket bigint, p_owner_id text) returns text[]
language plpgsql as $$
declare
    names text[];
begin
    perform 1 from :"schema".lock k
    where k.lock_name in (
        select w.lock_name from :"schema".waiter w
        where w.ticket = p_ticket and (p_owner_id is null or w.owner_id = p_owner_id))
    order by k.lock_name for update;
    select array_agg(w.lock_name order by w.lock_name) into names from :"schema".waiter w
    where w.ticket = p_ticket and (p_owner_id is null or w.owner_id = p_owner_id);
    return names;
end $$;

-- From a worker, once its ticket is drawn: for how many seconds it may wait where it is, instead of leaving and coming
-- back. 0: leave. That pays if its turn comes within pick-up + settle, which leaving and coming back would take.
-- The ticket may from now on be called up.
create function :"schema".linger(
    ticket bigint, owner_id text, mode text default 'auto', expected_hold double precision default null,
    settle double precision default 8, stay double precision default 15, most integer default 8,
    skip_after double precision default 10
) returns double precision
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s' as $$
#variable_conflict use_column
declare
    names text[];
    place integer := 0;
    request :"schema".waiter;
    turn record;
    patience double precision;
begin
    perform :"schema"._precheck();
    names := :"schema"._locks_of(linger.ticket, linger.owner_id);
    if names is null then
        return 0;
    end if;
    insert into :"schema".standby as s (ticket, mode, expected_hold)
    values (linger.ticket, linger.mode, linger.expected_hold)
    on conflict on constraint standby_pkey do update
    set mode = excluded.mode, expected_hold = excluded.expected_hold, ready_until = '-infinity';
    delete from :"schema".standby s
    where s.created_at < clock_timestamp() - interval '1 day'
      and not exists (select 1 from :"schema".waiter w where w.ticket = s.ticket);

    for request in select * from :"schema".waiter w where w.ticket = linger.ticket loop
        place := greatest(place, :"schema"._ahead(request.lock_name, linger.ticket, request.shared, linger.skip_after));
    end loop;
    select * into turn from :"schema"._turn(linger.ticket, place, linger.expected_hold, linger.most);
    if turn.barred then
        return 0;
    end if;
    if linger.mode = 'always' then
        patience := case when place = 0 then linger.stay end;
    else
        patience := :"schema"._pick_up() + linger.settle;
        -- Where nothing is known, the next in line waits all the same.
        if coalesce(turn.seconds > patience, place > 0 and turn.guess > patience) or (turn.resting and place > 0) then
            patience := null;
        end if;
    end if;
    if patience is null then
        return 0;
    end if;
    update :"schema".standby s
    set ready_until = clock_timestamp() + make_interval(secs => patience)
    where s.ticket = linger.ticket;
    return patience;
end $$;

-- poll, which also says who should be called up: verdict "call". Not those in `unsettled`, whose trigger may not fire yet.
create function :"schema".look(
    session_id text, tickets bigint[], unsettled bigint[] default '{}', skip_after double precision default 10,
    reach double precision default 1, most integer default 8
) returns table (ticket bigint, verdict text, "position" integer)
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s'
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
begin
    return query
        select p.ticket,
               case when s.ticket is not null and :"schema"._is_due(p.ticket, p.position, s.mode, s.expected_hold, look.reach, look.most)
                    then 'call' else p.verdict end,
               p.position
        from :"schema".poll(look.session_id, look.tickets, look.skip_after) p
        left join :"schema".standby s
            on s.ticket = p.ticket and s.ready_until <= clock_timestamp() and p.verdict = 'wait' and p.position < look.most
            and not s.ticket = any (look.unsettled);
end $$;

-- Call a waiter up to a worker. Nobody looks after its place on the way: if it does not come, others pass after
-- skip_after. False: not now.
create function :"schema".call_up(
    ticket bigint, skip_after double precision default 10, reach double precision default 1, most integer default 8,
    arrives_within double precision default 60
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s' as $$
#variable_conflict use_column
declare
    place integer := 0;
    request :"schema".waiter;
    wish :"schema".standby;
begin
    perform :"schema"._precheck();
    if :"schema"._locks_of(call_up.ticket, null) is null then
        return false;
    end if;
    select * into wish from :"schema".standby s where s.ticket = call_up.ticket for update;
    if not found or wish.ready_until > clock_timestamp() then
        return false;
    end if;
    for request in select * from :"schema".waiter w where w.ticket = call_up.ticket loop
        place := greatest(place, :"schema"._ahead(request.lock_name, call_up.ticket, request.shared, call_up.skip_after));
    end loop;
    if not :"schema"._is_due(call_up.ticket, place, wish.mode, wish.expected_hold, call_up.reach, call_up.most) then
        return false;
    end if;
    update :"schema".standby s
    set called_at = clock_timestamp(), arrived_at = null, calls = s.calls + 1,
        ready_until = clock_timestamp() + make_interval(secs => call_up.arrives_within)
    where s.ticket = call_up.ticket;
    update :"schema".waiter w set worker_session = null, seen_at = clock_timestamp() where w.ticket = call_up.ticket;
    return true;
end $$;

-- From a worker that was called up: "I am here, and stay for so many seconds." False: the ticket is no more.
create function :"schema".stand_by(ticket bigint, owner_id text, stay double precision) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s' as $$
#variable_conflict use_column
begin
    perform :"schema"._precheck();
    update :"schema".standby s
    set arrived_at = coalesce(s.arrived_at, clock_timestamp()),
        ready_until = clock_timestamp() + make_interval(secs => stand_by.stay)
    where s.ticket = stand_by.ticket
      and exists (select 1 from :"schema".waiter w where w.ticket = stand_by.ticket and w.owner_id = stand_by.owner_id);
    return found;
end $$;

-- From a worker that leaves without the lock. Its place in line stays; with rest > 0 its locks rest from call-ups.
create function :"schema".stand_down(ticket bigint, owner_id text, rest double precision default 0) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s' as $$
#variable_conflict use_column
begin
    perform :"schema"._precheck();
    update :"schema".standby s set ready_until = clock_timestamp()
    where s.ticket = stand_down.ticket
      and exists (select 1 from :"schema".waiter w where w.ticket = stand_down.ticket and w.owner_id = stand_down.owner_id);
    if found and stand_down.rest > 0 then
        insert into :"schema".standby_rest as r (lock_name, rests_until)
        select w.lock_name, clock_timestamp() + make_interval(secs => stand_down.rest)
        from :"schema".waiter w where w.ticket = stand_down.ticket order by w.lock_name
        on conflict on constraint standby_rest_pkey do update set rests_until = excluded.rests_until;
    end if;
end $$;

-- Whether the holder of these leases has a worker. A row that is locked at this moment is skipped: this is a hint only.
create function :"schema".set_deferred(lock_names text[], tokens bigint[], owner_ids text[], deferred boolean) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s' as $$
begin
    perform :"schema"._precheck();
    with mine as (
        select l.lock_name, l.token from :"schema".lease l
        join unnest(lock_names, tokens, owner_ids) m (lock_name, token, owner_id)
            on l.lock_name = m.lock_name and l.token = m.token and l.owner_id = m.owner_id
        where l.deferred is distinct from set_deferred.deferred
        for no key update of l skip locked
    )
    update :"schema".lease l set deferred = set_deferred.deferred
    from mine where l.lock_name = mine.lock_name and l.token = mine.token;
end $$;

-- A process looks after these tickets no more (its triggers were cancelled), though it lives and polls for others: who
-- does not take them up within skip_after is passed over.
create function :"schema".unwatch(session_id text, tickets bigint[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s' as $$
begin
    perform :"schema"._precheck();
    update :"schema".waiter w set worker_session = null, seen_at = clock_timestamp()
    where w.ticket = any (unwatch.tickets) and w.worker_session = unwatch.session_id;
end $$;

-- Whether one of these leases is held by a worker, as far as it has said so.
create function :"schema".has_worker(lock_names text[], tokens bigint[], owner_ids text[]) returns boolean
language sql security definer set search_path = pg_catalog, pg_temp as $$
    select exists (
        select 1 from :"schema".lease l
        join unnest(lock_names, tokens, owner_ids) m (lock_name, token, owner_id)
            on l.lock_name = m.lock_name and l.token = m.token and l.owner_id = m.owner_id
        where l.state = 'held' and not l.deferred
    )
$$;
