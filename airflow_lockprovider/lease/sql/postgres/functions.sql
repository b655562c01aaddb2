-- The verbs: one call each, on a connection in autocommit mode. They are the interface for people who use SQL alone.
-- No client can stop halfway: whoever holds a lock's row holds it for one call.
-- Generic plans, by index whatever the statistics say: all is found by key, planning anew would take longer than
-- running, and a plan made while the tables were empty must do when they are full.

-- Make rows for locks that have none. Call it in a transaction of its own, before the first acquire.
create function :"schema".declare(lock_names text[], capacity integer[] default null) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s' as $$
begin
    perform :"schema"._precheck();
    perform :"schema"._check_request(lock_names, 'declare', array_fill(1, array[cardinality(lock_names)]), 1);
    insert into :"schema".lock (lock_name, capacity)
    select wanted.name, coalesce(wanted.capacity, 1) from unnest(lock_names, declare.capacity) wanted (name, capacity)
    where wanted.name is not null order by wanted.name
    on conflict do nothing;
end $$;

create function :"schema".set_capacity(lock_name text, capacity integer) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s' as $$
begin
    perform :"schema"._precheck();
    perform :"schema"._check_request(array[lock_name], 'set_capacity', array[set_capacity.capacity], 1);
    insert into :"schema".lock as k (lock_name, capacity) values (set_capacity.lock_name, set_capacity.capacity)
    on conflict on constraint lock_pkey do update set capacity = excluded.capacity;
    perform :"schema"._wake(set_capacity.lock_name);
end $$;

-- Get the locks now, or learn who has them. Never queues, and never overtakes a living queue.
-- The same owner_id asking again gets the same grant, not a longer one. units, capacity and shared have a value per lock.
-- again: an earlier call may still be under way, its answer was lost; so not even a plain no without the locks' rows.
create function :"schema".try_acquire(
    lock_names text[], owner_id text, owner text default null, ttl double precision default 120,
    units integer[] default null, capacity integer[] default null, shared boolean[] default null,
    context jsonb default '{}', skip_after double precision default 10, hold_at_least double precision default 0,
    again boolean default false
) returns setof :"schema".answer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s'
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    queued bigint;
    taken boolean;
begin
    perform :"schema"._precheck();
    units := coalesce(units, array_fill(1, array[cardinality(lock_names)]));
    shared := coalesce(shared, array_fill(false, array[cardinality(lock_names)]));
    perform :"schema"._check_request(lock_names, owner_id, units, ttl, hold_at_least);
    if not again
        and (exists (select 1 from :"schema".lease l where l.lock_name = any (lock_names))
             or exists (select 1 from :"schema".waiter w where w.lock_name = any (lock_names)))
        and :"schema"._is_plainly_busy(lock_names, units, try_acquire.capacity, shared, owner_id, null, skip_after)
    then
        return query select * from :"schema"._busy(
            lock_names, null, :"schema"._position(lock_names, null, shared, skip_after));
        return;
    end if;
    taken := :"schema"._open(lock_names, units, try_acquire.capacity);
    if not taken and not exists (select 1 from :"schema".waiter w where w.lock_name = any (lock_names)) then
        return query select * from :"schema"._grant(
            lock_names, owner_id, coalesce(owner, owner_id), units, shared, null, null, 'held', ttl, hold_at_least, null,
            coalesce(context, '{}'));
        return;
    end if;

    if (select count(distinct l.lock_name) from :"schema".lease l
        where l.lock_name = any (lock_names) and l.owner_id = try_acquire.owner_id and l.state = 'held'
          -- the sweep leaves a row alone that is locked at this moment
          and l.expires_at > clock_timestamp()) = cardinality(lock_names)
    then
        return query
            select distinct on (l.lock_name) a.* from :"schema".lease l, lateral :"schema"._granted(l) a
            where l.lock_name = any (lock_names) and l.owner_id = try_acquire.owner_id and l.state = 'held'
              and l.expires_at > clock_timestamp()
            order by l.lock_name, l.token;
        return;
    end if;

    -- Who already stands in line keeps that place, and does not overtake.
    queued := :"schema"._ticket_of(owner_id, lock_names);
    if queued is not null then
        return query select * from :"schema".confirm(queued, owner_id, ttl, context, skip_after, hold_at_least);
        return;
    end if;

    return query select * from :"schema"._admit(
        lock_names, owner_id, coalesce(owner, owner_id), units, shared, null, null, null, 'held', ttl, hold_at_least, null,
        coalesce(context, '{}'), skip_after, taken);
end $$;

-- Take a place in line: one ticket and one priority, in the lines of all the locks.
-- The same owner_id asking again gets the same ticket.
-- listen: this session hears of changes from now on; look once more after it, what changed before is not told.
create function :"schema".enqueue(
    lock_names text[], owner_id text, owner text default null, units integer[] default null,
    capacity integer[] default null, shared boolean[] default null, priority integer default 0, context jsonb default '{}',
    listen boolean default false
) returns table (ticket bigint, created_at timestamptz, waited double precision)
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s'
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    number bigint;
    wanted_units integer[] := coalesce(enqueue.units, array_fill(1, array[cardinality(lock_names)]));
    wanted_shared boolean[] := coalesce(enqueue.shared, array_fill(false, array[cardinality(lock_names)]));
begin
    perform :"schema"._precheck();
    perform :"schema"._check_request(lock_names, enqueue.owner_id, wanted_units, 1);
    perform :"schema"._open(lock_names, wanted_units, enqueue.capacity);

    number := :"schema"._ticket_of(enqueue.owner_id, lock_names);
    if number is null then
        number := nextval((:'schema' || '.ticket')::regclass);
        insert into :"schema".waiter (ticket, lock_name, owner_id, owner, units, shared, priority, context)
        select number, w.name, enqueue.owner_id, coalesce(enqueue.owner, enqueue.owner_id), w.units, w.shared,
               enqueue.priority, coalesce(enqueue.context, '{}')
        from unnest(lock_names, wanted_units, wanted_shared) w (name, units, shared);
    else
        update :"schema".waiter w set seen_at = clock_timestamp() where w.ticket = number;
    end if;
    if enqueue.listen then
        listen :"schema";
    end if;

    return query
        select w.ticket, w.created_at, extract(epoch from clock_timestamp() - w.created_at)::double precision
        from :"schema".waiter w where w.ticket = number order by w.lock_name limit 1;
end $$;

-- One plain look for all the waiters of one process: it shows that the process lives, and says for each ticket
-- whether a try is worth it. try | wait | gone (consumed or withdrawn).
create function :"schema".poll(session_id text, tickets bigint[], skip_after double precision default 10)
returns table (ticket bigint, verdict text, "position" integer)
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s'
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
begin
    perform :"schema"._precheck();
    insert into :"schema".worker_session as s (session_id) values (poll.session_id)
    on conflict on constraint worker_session_pkey do update set seen_at = clock_timestamp();
    -- Once per ticket and process. A row that is being decided about is skipped; the next poll comes soon.
    with new as (
        select w.ticket, w.lock_name from :"schema".waiter w
        where w.ticket = any (poll.tickets) and w.worker_session is distinct from poll.session_id
        for no key update skip locked
    )
    update :"schema".waiter w set worker_session = poll.session_id, seen_at = clock_timestamp()
    from new where w.ticket = new.ticket and w.lock_name = new.lock_name;

    -- A request that can never be granted (the lock has shrunk) is worth a try as well: the try says so.
    return query
        with mine as materialized (
            select w.ticket, w.lock_name, w.units, w.shared from :"schema".waiter w where w.ticket = any (poll.tickets)
        ), line as (
            select n.ticket, n.lock_name, case when n.shared then n.ahead_exclusive else n.ahead end as ahead
            from :"schema"._line(array(select distinct m.lock_name from mine m), skip_after) n
        ), looked as (
            select m.ticket, max(line.ahead) as ahead, bool_or(m.units > k.capacity) as never,
                   bool_and(not k.paused and line.ahead = 0
                            and case when line.ahead = 0 then :"schema"._fits(m.lock_name, m.units, m.shared, true) end) as open
            from mine m
            join line on line.ticket = m.ticket and line.lock_name = m.lock_name
            join :"schema".lock k on k.lock_name = m.lock_name
            group by m.ticket
        )
        select t.number,
               case when looked.ticket is null then 'gone' when looked.open or looked.never then 'try' else 'wait' end,
               coalesce(looked.ahead, 0)
        from unnest(poll.tickets) t(number) left join looked on looked.ticket = t.number;
end $$;

-- For a waiter: grant, but only as a reservation, which is nobody's right to start. The worker has to confirm it
-- within handover_ttl; if it does not, the ticket is still there.
create function :"schema".reserve(
    ticket bigint, session_id text default null, handover_ttl double precision default 60,
    skip_after double precision default 10
) returns setof :"schema".answer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s'
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    names text[];
    wanted_units integer[];
    wanted_shared boolean[];
    request :"schema".waiter;
    result :"schema".answer;
begin
    perform :"schema"._precheck();
    select array_agg(w.lock_name order by w.lock_name), array_agg(w.units order by w.lock_name),
           array_agg(w.shared order by w.lock_name)
    into names, wanted_units, wanted_shared
    from :"schema".waiter w where w.ticket = reserve.ticket;
    if names is null then
        return next :"schema"._gone(reserve.ticket);
        return;
    end if;
    perform :"schema"._check_request(names, 'reserve', wanted_units, reserve.handover_ttl);
    perform :"schema"._open(names, wanted_units, null);
    -- Again, now that the row is ours: it may have been confirmed or withdrawn meanwhile.
    select * into request from :"schema".waiter w where w.ticket = reserve.ticket order by w.lock_name limit 1;
    if not found then
        return next :"schema"._gone(reserve.ticket);
        return;
    end if;

    perform :"schema"._drop_partial(reserve.ticket, names);
    return query
        select a.* from :"schema".lease l, lateral :"schema"._granted(l) a
        where l.ticket = reserve.ticket and l.state = 'reserved' and l.lock_name = any (names)
          and l.expires_at > clock_timestamp()
        order by l.lock_name;
    if found then
        return;
    end if;

    for result in
        select * from :"schema"._admit(
            names, request.owner_id, request.owner, wanted_units, wanted_shared, request.ticket, request.priority,
            request.created_at, 'reserved', reserve.handover_ttl, 0, reserve.session_id, request.context, reserve.skip_after,
            true)
    loop
        return next result;
    end loop;
    if result.outcome = 'granted' then
        -- From now on nobody looks after the ticket: if the reservation lapses, others pass after skip_after.
        update :"schema".waiter w set worker_session = null, seen_at = clock_timestamp() where w.ticket = reserve.ticket;
        -- Whoever stands behind may fit as well.
        perform :"schema"._wake_next(names);
    end if;
end $$;

-- The worker's "I am here": turn the reservation into a lease. If it has lapsed, or there never was one, try again
-- with the same place in line. gone: the ticket was withdrawn or belongs to another attempt.
-- unlisten: when it is granted, this session hears of changes no more.
create function :"schema".confirm(
    ticket bigint, owner_id text, ttl double precision default 120, context jsonb default null,
    skip_after double precision default 10, hold_at_least double precision default 0, unlisten boolean default false
) returns setof :"schema".answer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s'
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    names text[];
    wanted_units integer[];
    wanted_shared boolean[];
    request :"schema".waiter;
    result :"schema".answer;
    taken boolean;
    granted boolean := false;
begin
    perform :"schema"._precheck();
    select array_agg(w.lock_name), array_agg(w.units), array_agg(w.shared) into names, wanted_units, wanted_shared
    from (
        select * from :"schema".waiter w
        where w.ticket = confirm.ticket and w.owner_id = confirm.owner_id order by w.lock_name
    ) w;
    if names is null then
        -- The answer to an earlier confirm was lost: it holds.
        return query
            select a.* from :"schema".lease l, lateral :"schema"._granted(l) a
            where l.ticket = confirm.ticket and l.owner_id = confirm.owner_id and l.state = 'held'
              and l.expires_at > clock_timestamp()
            order by l.lock_name;
        if not found then
            return next :"schema"._gone(confirm.ticket);
        elsif confirm.unlisten then
            unlisten :"schema";
        end if;
        return;
    end if;
    perform :"schema"._check_request(names, confirm.owner_id, wanted_units, confirm.ttl, confirm.hold_at_least);
    if exists (select 1 from :"schema".lease l where l.lock_name = any (names))
        and :"schema"._is_plainly_busy(
            names, wanted_units, null, wanted_shared, confirm.owner_id, confirm.ticket, confirm.skip_after)
    then
        -- Shows that it lives, but not at each look: that would be a write.
        with old as (
            select w.ticket, w.lock_name from :"schema".waiter w
            where w.ticket = confirm.ticket
              and w.seen_at <= clock_timestamp() - make_interval(secs => confirm.skip_after / 10)
            for no key update skip locked
        )
        update :"schema".waiter w set seen_at = clock_timestamp()
        from old where w.ticket = old.ticket and w.lock_name = old.lock_name;
        return query select * from :"schema"._busy(
            names, confirm.ticket, :"schema"._position(names, confirm.ticket, wanted_shared, confirm.skip_after));
        return;
    end if;
    taken := :"schema"._open(names, wanted_units, null);
    select * into request from :"schema".waiter w where w.ticket = confirm.ticket order by w.lock_name limit 1;
    if not found then
        return query select * from :"schema".confirm(
            confirm.ticket, confirm.owner_id, confirm.ttl, confirm.context, confirm.skip_after, confirm.hold_at_least,
            confirm.unlisten);
        return;
    end if;

    if taken then
        perform :"schema"._drop_partial(confirm.ticket, names);
        for result in
            with held as (
                update :"schema".lease l
                set state = 'held', ttl = confirm.ttl, renewed_at = clock_timestamp(), start_by = null,
                    expires_at = clock_timestamp() + make_interval(secs => confirm.ttl),
                    hold_until = case when confirm.hold_at_least > 0
                                 then clock_timestamp() + make_interval(secs => confirm.hold_at_least) end,
                    context = coalesce(confirm.context, l.context)
                where l.ticket = confirm.ticket and l.owner_id = confirm.owner_id and l.lock_name = any (names)
                  and l.state = 'reserved' and l.expires_at > clock_timestamp()
                returning l.*
            ), logged as (
                insert into :"schema".lease_event (lock_name, token, owner_id, owner, event, ticket, units, waited, context)
                select h.lock_name, h.token, h.owner_id, h.owner, 'confirmed', h.ticket, h.units, h.waited, h.context from held h
            )
            select 'granted', h.lock_name, h.token, h.owner_id, h.owner, h.units, h.shared, h.state, h.ttl,
                   extract(epoch from h.expires_at - clock_timestamp())::double precision,
                   h.created_at, h.expires_at, h.context, h.ticket, h.waited, 0, false
            from held h order by h.lock_name
        loop
            granted := true;
            return next result;
        end loop;
    end if;

    if not granted then
        for result in
            select * from :"schema"._admit(
                names, request.owner_id, request.owner, wanted_units, wanted_shared, request.ticket, request.priority,
                request.created_at, 'held', confirm.ttl, confirm.hold_at_least, null,
                coalesce(confirm.context, request.context), confirm.skip_after, taken)
        loop
            granted := result.outcome = 'granted';
            return next result;
        end loop;
    end if;

    if granted then
        delete from :"schema".waiter w where w.ticket = confirm.ticket;
        perform :"schema"._wake_next(names);
        if confirm.unlisten then
            unlisten :"schema";
        end if;
    else
        update :"schema".waiter w set seen_at = clock_timestamp() where w.ticket = confirm.ticket;
    end if;
end $$;

-- Leave the line; give a reservation back. False: there was neither.
create function :"schema".withdraw(ticket bigint, owner_id text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s' as $$
declare
    place :"schema".waiter;
    mine :"schema".lease;
    gone boolean := false;
begin
    perform :"schema"._precheck();
    -- The locks' rows first, as everybody does: a reservation that is being made now must not outlive its ticket.
    perform 1 from :"schema".lock k
    where k.lock_name in (select w.lock_name from :"schema".waiter w where w.ticket = withdraw.ticket)
    order by k.lock_name for update;
    for place in
        delete from :"schema".waiter w where w.ticket = withdraw.ticket and w.owner_id = withdraw.owner_id returning w.*
    loop
        gone := true;
        insert into :"schema".lease_event (lock_name, owner_id, owner, event, ticket, units, waited, context)
        values (place.lock_name, place.owner_id, place.owner, 'withdrawn', place.ticket, place.units,
                extract(epoch from clock_timestamp() - place.created_at), place.context);
        perform :"schema"._wake(place.lock_name);
    end loop;
    for mine in
        select * from :"schema".lease l
        where l.ticket = withdraw.ticket and l.owner_id = withdraw.owner_id and l.state = 'reserved'
    loop
        gone := :"schema".release(mine.lock_name, mine.token, mine.owner_id) or gone;
    end loop;
    return gone;
end $$;

-- Prolong leases, many in one call. A row that is locked at this moment is skipped: ask again within a second.
create function :"schema".renew(lock_names text[], tokens bigint[], owner_ids text[], ttls double precision[])
returns table (lock_name text, token bigint, outcome text, ttl double precision, remaining double precision,
               expires_at timestamptz, reason text)
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s'
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
begin
    perform :"schema"._precheck();
    if exists (select 1 from unnest(ttls) t where t is null or not t > 0 or t > 31622400) then
        raise exception 'ttl in % must be above zero seconds and at most a year', ttls using errcode = 'LP001';
    end if;
    return query
        with wanted as (
            select * from unnest(lock_names, tokens, owner_ids, ttls) w (lock_name, token, owner_id, ttl)
        ), free as materialized (
            select l.lock_name, l.token, w.ttl
            from :"schema".lease l join wanted w on w.lock_name = l.lock_name and w.token = l.token and w.owner_id = l.owner_id
            where l.state in ('held', 'reserved') and l.expires_at > clock_timestamp()
            for no key update of l skip locked
        ), renewed as (
            update :"schema".lease l
            set ttl = f.ttl, renewed_at = clock_timestamp(), expires_at = clock_timestamp() + make_interval(secs => f.ttl),
                start_by = case when l.state = 'reserved' then clock_timestamp() + make_interval(secs => f.ttl) end
            from free f
            where l.lock_name = f.lock_name and l.token = f.token
              and l.state in ('held', 'reserved') and l.expires_at > clock_timestamp()
            returning l.lock_name, l.token, l.ttl, l.expires_at
        )
        select w.lock_name, w.token,
               case when r.token is not null then 'renewed'
                    when l.state in ('held', 'reserved') and l.expires_at > clock_timestamp() then 'skipped'
                    else 'lost' end,
               coalesce(r.ttl, w.ttl),
               extract(epoch from coalesce(r.expires_at, l.expires_at) - clock_timestamp())::double precision,
               coalesce(r.expires_at, l.expires_at),
               case when r.token is not null then null
                    when l.state in ('released', 'revoked') then 'it was ' || l.state
                    when l.token is not null then 'it expired at ' || l.expires_at
                    else coalesce((select 'it was ' || e.event || coalesce(' by ' || e.actor, '') || coalesce(': ' || e.reason, '')
                                   from :"schema".lease_event e
                                   where e.lock_name = w.lock_name and e.token = w.token and e.event in ('released', 'revoked', 'expired', 'lapsed', 'adopted')
                                   order by e.event_id desc limit 1), 'no such lease')
                         || coalesce((select '; now held by ' || n.owner || ' (token ' || n.token || ')'
                                      from :"schema".lease n where n.lock_name = w.lock_name and n.token > w.token
                                      order by n.token desc limit 1), '')
               end
        from wanted w
        left join renewed r on r.lock_name = w.lock_name and r.token = w.token
        left join :"schema".lease l on l.lock_name = w.lock_name and l.token = w.token and l.owner_id = w.owner_id;
end $$;

-- Give back. Never waits for a guarded transaction. False: it was already gone. Before hold_until the units stay taken
-- until then, though the lease is over for its owner.
create function :"schema".release(lock_name text, token bigint, owner_id text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s'
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    mine :"schema".lease;
begin
    perform :"schema"._precheck(false);
    -- Usually the row can go at once.
    with free as (
        select l.lock_name, l.token from :"schema".lease l
        where l.lock_name = release.lock_name and l.token = release.token and l.owner_id = release.owner_id
          and l.state in ('held', 'reserved') and l.expires_at > clock_timestamp()
          and (l.hold_until is null or l.hold_until <= clock_timestamp())
        for update skip locked
    ), gone as (
        delete from :"schema".lease l using free f where l.lock_name = f.lock_name and l.token = f.token returning l.*
    )
    insert into :"schema".lease_event (lock_name, token, owner_id, owner, event, ticket, units, waited, held, context)
    select g.lock_name, g.token, g.owner_id, g.owner, 'released', g.ticket, g.units, g.waited,
           extract(epoch from clock_timestamp() - g.created_at), g.context
    from gone g;
    if found then
        if exists (select 1 from :"schema".waiter w where w.lock_name = release.lock_name) then
            perform :"schema"._wake(release.lock_name);
        end if;
        return true;
    end if;
    -- A guarded transaction is open, or a renewal under way: mark it, it drains.
    update :"schema".lease l set state = 'released'
    where l.lock_name = release.lock_name and l.token = release.token and l.owner_id = release.owner_id
      and l.state in ('held', 'reserved') and l.expires_at > clock_timestamp()
    returning l.* into mine;
    if not found then
        return false;
    end if;
    perform :"schema"._log('released', mine, extract(epoch from clock_timestamp() - mine.created_at));
    perform :"schema"._remove_dead(release.lock_name);
    perform :"schema"._wake(release.lock_name);
    return true;
end $$;

-- A retry takes over the leases of an earlier attempt that is dead, with new tokens, before everybody in line. The old
-- tokens die at once. busy: a guarded transaction is open under one of them; what drains is kept for the new owner for
-- its ttl, ask again. gone: the earlier attempt does not hold all of these locks.
create function :"schema".adopt(
    lock_names text[], owner_id text, previous_owner_id text, owner text default null,
    ttl double precision default 120, context jsonb default null
) returns setof :"schema".answer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s' as $$
declare
    ones integer[] := array_fill(1, array[cardinality(lock_names)]);
    mine :"schema".lease;
    names text[];
    wanted_units integer[];
    wanted_shared boolean[];
    old_context jsonb;
begin
    perform :"schema"._precheck();
    perform :"schema"._check_request(lock_names, adopt.owner_id, ones, adopt.ttl);
    if coalesce(previous_owner_id, '') in ('', adopt.owner_id) then
        raise exception 'previous_owner_id=% must name the earlier attempt, not this one', previous_owner_id
            using errcode = 'LP001', hint = 'every attempt has an owner_id of its own';
    end if;
    perform :"schema"._open(lock_names, ones, null);

    -- The answer to an earlier call was lost: it holds.
    if (select count(distinct l.lock_name) from :"schema".lease l
        where l.lock_name = any (lock_names) and l.owner_id = adopt.owner_id and l.state = 'held'
          and l.expires_at > clock_timestamp()) = cardinality(lock_names)
    then
        return query
            select distinct on (l.lock_name) a.* from :"schema".lease l, lateral :"schema"._granted(l) a
            where l.lock_name = any (lock_names) and l.owner_id = adopt.owner_id and l.state = 'held'
              and l.expires_at > clock_timestamp()
            order by l.lock_name, l.token;
        return;
    end if;

    -- What the earlier attempt holds, and what was taken from it by an earlier call of ours and drains.
    select array_agg(l.lock_name order by l.lock_name) into names
    from :"schema".lease l
    where l.lock_name = any (lock_names)
      and ((l.owner_id = previous_owner_id and l.state = 'held' and l.expires_at > clock_timestamp())
           or (l.owner_id = adopt.owner_id and l.state = 'released' and exists (
               select 1 from :"schema".lease_event e
               where e.lock_name = l.lock_name and e.token = l.token and e.event = 'adopted')));
    if coalesce(cardinality(names), 0) <> cardinality(lock_names) then
        return next :"schema"._gone(null);
        return;
    end if;
    if exists (select 1 from :"schema".lock k where k.lock_name = any (lock_names) and k.paused) then
        return query select * from :"schema"._busy(lock_names, null, 0);
        return;
    end if;

    for mine in
        select * from :"schema".lease l
        where l.lock_name = any (lock_names) and l.owner_id = previous_owner_id and l.state = 'held'
        order by l.lock_name for no key update
    loop
        perform :"schema"._log('adopted', mine, extract(epoch from clock_timestamp() - mine.created_at),
                               coalesce(adopt.owner, adopt.owner_id));
        update :"schema".lease l
        set state = 'released', owner_id = adopt.owner_id, hold_until = clock_timestamp() + make_interval(secs => adopt.ttl)
        where l.lock_name = mine.lock_name and l.token = mine.token;
    end loop;

    names := null;
    for mine in
        select * from :"schema".lease l
        where l.lock_name = any (lock_names) and l.owner_id = adopt.owner_id and l.state = 'released'
        order by l.lock_name for update skip locked
    loop
        names := names || mine.lock_name;
        wanted_units := wanted_units || mine.units;
        wanted_shared := wanted_shared || mine.shared;
        old_context := mine.context;
    end loop;
    if coalesce(cardinality(names), 0) <> cardinality(lock_names) then
        return query select * from :"schema"._busy(lock_names, null, 0);
        return;
    end if;
    delete from :"schema".lease l
    where l.lock_name = any (names) and l.owner_id = adopt.owner_id and l.state = 'released';
    return query select * from :"schema"._grant(
        names, adopt.owner_id, coalesce(adopt.owner, adopt.owner_id), wanted_units, wanted_shared, null, null, 'held',
        adopt.ttl, 0, null, coalesce(adopt.context, old_context));
end $$;

-- Take away from everybody who holds it, or from one token; recorded with person and reason. A reservation goes with its
-- place in line, on all locks of its ticket: else it would be made anew at once. hold_at_least ends, too.
-- terminate: also end the sessions whose guarded transaction is still open.
create function :"schema".revoke(
    lock_name text, actor text, reason text, token bigint default null, terminate boolean default false
) returns setof :"schema".answer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s' as $$
declare
    mine :"schema".lease;
    sibling :"schema".lease;
    place text;
begin
    perform :"schema"._precheck();
    if coalesce(btrim(actor), '') = '' or coalesce(btrim(reason), '') = '' then
        raise exception 'revoke needs who and why' using errcode = 'LP001', hint = 'give actor and reason';
    end if;
    -- No ticket that has to do with this lock can be reserved, confirmed or withdrawn meanwhile.
    perform 1 from :"schema".lock k where k.lock_name = revoke.lock_name for update;
    -- What has expired and was not looked at since is over, too: a person may end how long it was to be held at least.
    perform :"schema"._sweep(revoke.lock_name);
    for mine in
        update :"schema".lease l set state = 'revoked', hold_until = null
        where l.lock_name = revoke.lock_name and (revoke.token is null or l.token = revoke.token)
          and l.state in ('held', 'reserved') and l.expires_at > clock_timestamp()
        returning l.*
    loop
        perform :"schema"._log('revoked', mine, extract(epoch from clock_timestamp() - mine.created_at), actor, reason);
        return next :"schema"._granted(mine);
        continue when mine.start_by is null;  -- held, not reserved: its ticket is used up
        for place in
            delete from :"schema".waiter w where w.ticket = mine.ticket returning w.lock_name
        loop
            continue when place = revoke.lock_name;
            for sibling in
                with rest as (
                    select l.lock_name, l.token from :"schema".lease l
                    where l.lock_name = place and l.ticket = mine.ticket and l.state = 'reserved'
                    for no key update skip locked
                )
                update :"schema".lease l set state = 'revoked'
                from rest r where l.lock_name = r.lock_name and l.token = r.token
                returning l.*
            loop
                perform :"schema"._log('revoked', sibling, extract(epoch from clock_timestamp() - sibling.created_at), actor, reason);
                return next :"schema"._granted(sibling);
                perform :"schema"._remove_dead(place);
            end loop;
            perform :"schema"._wake(place);
        end loop;
    end loop;
    -- What is over already, but was to be held at least for a while.
    update :"schema".lease l set hold_until = null
    where l.lock_name = revoke.lock_name and (revoke.token is null or l.token = revoke.token)
      and l.state not in ('held', 'reserved') and l.hold_until is not null;
    if terminate then
        begin
            perform pg_terminate_backend(pid)
            from :"schema".lease l, lateral :"schema".guard_pids(l.lock_name, l.token) pid
            where l.lock_name = revoke.lock_name and (revoke.token is null or l.token = revoke.token);
        exception when insufficient_privilege then
            raise exception 'the owner of the lock tables may not end the guarded session: %', sqlerrm
                using errcode = 'LP001', hint = 'revoke without terminate, or grant it pg_signal_backend';
        end;
    end if;
    perform :"schema"._remove_dead(revoke.lock_name);
    perform :"schema"._wake(revoke.lock_name);
end $$;

-- pause: nothing is granted until resume; who holds it goes on.
create function :"schema".pause(lock_name text, actor text, reason text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s' as $$
begin
    perform :"schema"._precheck();
    if coalesce(btrim(actor), '') = '' or coalesce(btrim(reason), '') = '' then
        raise exception 'pause needs who and why' using errcode = 'LP001', hint = 'give actor and reason';
    end if;
    update :"schema".lock k set paused = true, note = 'paused by ' || actor || ': ' || reason where k.lock_name = pause.lock_name;
    if not found then
        return false;
    end if;
    insert into :"schema".lease_event (lock_name, owner_id, owner, event, actor, reason) values (pause.lock_name, '', '', 'paused', actor, reason);
    return true;
end $$;

create function :"schema".resume(lock_name text, actor text, reason text default null) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s' as $$
begin
    perform :"schema"._precheck();
    update :"schema".lock k set paused = false, note = null where k.lock_name = resume.lock_name and k.paused;
    if not found then
        return false;
    end if;
    insert into :"schema".lease_event (lock_name, owner_id, owner, event, actor, reason) values (resume.lock_name, '', '', 'resumed', actor, reason);
    perform :"schema"._wake(resume.lock_name);
    return true;
end $$;

-- Mark what has expired, remove what is over, forget waiters that nobody has looked after for prune_after seconds.
-- Returns how many leases expired or were removed and how many waiters were forgotten, together.
create function :"schema".clean_up(prune_after double precision default 86400) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s' as $$
declare
    name text;
    gone :"schema".waiter;
    before integer;
    total integer := 0;
begin
    perform :"schema"._precheck();
    for name in
        select distinct l.lock_name from :"schema".lease l
        where l.state not in ('held', 'reserved') or l.expires_at <= clock_timestamp() order by 1
    loop
        -- A lock whose row is busy is being decided about, and swept, by somebody else.
        perform 1 from :"schema".lock k where k.lock_name = name for update skip locked;
        continue when not found;
        select count(*) into before from :"schema".lease l where l.lock_name = name;
        perform :"schema"._sweep(name);
        total := total + before - (select count(*) from :"schema".lease l where l.lock_name = name);
        perform :"schema"._wake(name);
    end loop;
    for gone in
        -- Holding the lock's row: a reservation that is being made now must not outlive its ticket.
        with forgotten as (
            select w.ticket, w.lock_name
            from :"schema".waiter w
            join :"schema".lock k on k.lock_name = w.lock_name
            where greatest(w.seen_at, (select s.seen_at from :"schema".worker_session s where s.session_id = w.worker_session))
                  <= clock_timestamp() - make_interval(secs => prune_after)
            for update skip locked
        )
        delete from :"schema".waiter w using forgotten f
        where w.ticket = f.ticket and w.lock_name = f.lock_name
        returning w.*
    loop
        total := total + 1;
        insert into :"schema".lease_event (lock_name, owner_id, owner, event, ticket, units, waited, context)
        values (gone.lock_name, gone.owner_id, gone.owner, 'pruned', gone.ticket, gone.units,
                extract(epoch from clock_timestamp() - gone.created_at), gone.context);
    end loop;
    delete from :"schema".worker_session s where s.seen_at <= clock_timestamp() - make_interval(secs => prune_after);
    return total;
end $$;
