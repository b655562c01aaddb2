-- What the verbs are made of. Callers hold the rows of all wanted locks, taken in sorted order.
-- Every statement of a VOLATILE function has its own snapshot, so what is read after the row lock is fresh;
-- clock_timestamp(), never now(): now() is the start of the transaction, before the wait for the row.

create function :"schema"._precheck() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'locks need READ COMMITTED, this transaction is %', upper(current_setting('transaction_isolation'))
            using errcode = 'LP001',
                  hint = 'call it in autocommit mode, with default_transaction_isolation = ''read committed''';
    end if;
    if pg_is_in_recovery() then
        raise exception 'this server is in recovery (a standby): it grants nothing'
            using errcode = 'LP503', hint = 'point the connection at the primary';
    end if;
    -- A grant must survive a crash of the server; leave stricter settings (remote_apply) alone.
    if current_setting('synchronous_commit') = 'off' then
        perform set_config('synchronous_commit', 'on', true);
    end if;
end $$;

create function :"schema"._log(
    p_event text, p_lease :"schema".lease, p_held double precision default null,
    p_actor text default null, p_reason text default null
) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    insert into :"schema".lease_event
        (lock_name, token, owner_id, owner, event, ticket, units, waited, held, actor, reason, context)
    values
        (p_lease.lock_name, p_lease.token, p_lease.owner_id, p_lease.owner, p_event, p_lease.ticket, p_lease.units,
         p_lease.waited, p_held, p_actor, p_reason, p_lease.context)
$$;

-- Tell those who LISTEN, but only if somebody waits: a notification takes a lock on the queue of notifications.
create function :"schema"._wake(p_lock_name text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select 1 from :"schema".waiter w where w.lock_name = p_lock_name) then
        perform pg_notify(:'schema', p_lock_name);
    end if;
end $$;

-- Remove what is over. A row whose guarded transaction is still open is skipped: it drains, and counts.
create function :"schema"._remove_dead(p_lock_name text) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    removed integer;
begin
    with dead as (
        select l.lock_name, l.token
        from :"schema".lease l
        where l.lock_name = p_lock_name
          and l.state in ('released', 'revoked', 'expired')
          and (l.hold_until is null or l.hold_until <= clock_timestamp())
        for update skip locked
    )
    delete from :"schema".lease l using dead d where l.lock_name = d.lock_name and l.token = d.token;
    get diagnostics removed = row_count;
    return removed;
end $$;

-- Mark what has expired, then remove what is over. Returns how many leases expired. Never waits: a row that somebody
-- is just releasing or revoking is left alone, and counts.
create function :"schema"._sweep(p_lock_name text) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    gone :"schema".lease;
    expired integer := 0;
begin
    for gone in
        with due as (
            select l.lock_name, l.token
            from :"schema".lease l
            where l.lock_name = p_lock_name and l.state in ('held', 'reserved') and l.expires_at <= clock_timestamp()
            for no key update skip locked
        )
        update :"schema".lease l set state = 'expired'
        from due d
        where l.lock_name = d.lock_name and l.token = d.token
        returning l.*
    loop
        expired := expired + 1;
        perform :"schema"._log(
            case when gone.start_by is null then 'expired' else 'lapsed' end,
            gone, extract(epoch from gone.expires_at - gone.created_at));
    end loop;
    perform :"schema"._remove_dead(p_lock_name);
    return expired;
end $$;

-- The lines of some locks: for every request, whether it counts, and how many that count stand before it (all of them,
-- and the exclusive ones alone: two readers do not conflict). Counts who is looked after, has no reservation yet, and
-- asks for no more than there is. One pass, however many wait.
create function :"schema"._line(p_lock_names text[], p_skip_after double precision)
returns table (ticket bigint, lock_name text, shared boolean, counts boolean, ahead integer, ahead_exclusive integer)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select w.ticket, w.lock_name, w.shared, w.counts,
           (count(*) filter (where w.counts) over before)::integer,
           (count(*) filter (where w.counts and not w.shared) over before)::integer
    from (
        select w.ticket, w.lock_name, w.shared, w.priority,
               w.units <= k.capacity
                   and greatest(w.seen_at, s.seen_at) > clock_timestamp() - make_interval(secs => p_skip_after)
                   and l.ticket is null as counts
        from :"schema".waiter w
        join :"schema".lock k on k.lock_name = w.lock_name
        left join :"schema".worker_session s on s.session_id = w.worker_session
        left join :"schema".lease l on l.lock_name = w.lock_name and l.ticket = w.ticket
            and l.state = 'reserved' and l.expires_at > clock_timestamp()
        where w.lock_name = any (p_lock_names)
    ) w
    window before as (
        partition by w.lock_name order by w.priority desc, w.ticket rows between unbounded preceding and 1 preceding)
$$;

-- How many requests stand before this one in the line of one lock. p_ticket null: a newcomer, behind everybody.
create function :"schema"._ahead(p_lock_name text, p_ticket bigint, p_shared boolean, p_skip_after double precision)
returns integer
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select case when p_ticket is null then count(*) filter (where n.counts and not (n.shared and p_shared))::integer
                else max(case when n.shared then n.ahead_exclusive else n.ahead end) filter (where n.ticket = p_ticket)
           end
    from :"schema"._line(array[p_lock_name], p_skip_after) n
$$;

-- Whether the units fit beside what is granted now. Every row counts, draining ones too; for a plain look without the
-- lock's row (living_only) what is over, or whose time has come, is left out: whether it can go, only a try finds out.
create function :"schema"._fits(p_lock_name text, p_units integer, p_shared boolean, p_living_only boolean) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    -- No row of the lock: no.
    select coalesce(case
        when count(k.lock_name) = 0 then false
        when p_shared then coalesce(not bool_or(not l.shared), true)
        else coalesce(not bool_or(l.shared), true) and coalesce(sum(l.units), 0) + p_units <= min(k.capacity)
    end, false)
    from :"schema".lock k
    left join :"schema".lease l on l.lock_name = k.lock_name
        and (not p_living_only or (l.state in ('held', 'reserved') and l.expires_at > clock_timestamp()))
    where k.lock_name = p_lock_name
$$;

create function :"schema"._gone(p_ticket bigint) returns :"schema".answer
language sql immutable security definer set search_path = pg_catalog, pg_temp as $$
    select ('gone', null, null, null, null, null, null, null, null, null, null, null, null, p_ticket, null, 0, false):::"schema".answer
$$;

create function :"schema"._granted(p_lease :"schema".lease) returns :"schema".answer
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    select ('granted', p_lease.lock_name, p_lease.token, p_lease.owner_id, p_lease.owner, p_lease.units, p_lease.shared,
        p_lease.state, p_lease.ttl, extract(epoch from p_lease.expires_at - clock_timestamp())::double precision,
        p_lease.created_at, p_lease.expires_at, p_lease.context, p_lease.ticket, p_lease.waited, 0, false):::"schema".answer
$$;

-- Decide one request for one or several locks: all or nothing. The rows of the locks are held and swept by the caller.
create function :"schema"._admit(
    p_lock_names text[], p_owner_id text, p_owner text, p_units integer, p_shared boolean,
    p_ticket bigint, p_requested_at timestamptz, p_state text, p_seconds double precision, p_session text,
    p_context jsonb, p_skip_after double precision
) returns setof :"schema".answer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    wanted text;
    line integer := 0;
    blocked boolean := false;
    halted boolean := false;
    moment timestamptz;
    new_lease :"schema".lease;
begin
    foreach wanted in array p_lock_names loop
        line := greatest(line, :"schema"._ahead(wanted, p_ticket, p_shared, p_skip_after));
        blocked := blocked or not :"schema"._fits(wanted, p_units, p_shared, false);
        halted := halted or coalesce((select k.paused from :"schema".lock k where k.lock_name = wanted), true);
    end loop;

    if blocked or halted or line > 0 then
        return query
            select 'busy', k.lock_name, l.token, l.owner_id, l.owner, l.units, l.shared, l.state, l.ttl,
                   extract(epoch from l.expires_at - clock_timestamp())::double precision,
                   l.created_at, l.expires_at, l.context, p_ticket, l.waited, line, k.paused
            from :"schema".lock k
            left join :"schema".lease l on l.lock_name = k.lock_name
            where k.lock_name = any (p_lock_names)
            order by k.lock_name, l.token;
        return;
    end if;

    foreach wanted in array p_lock_names loop
        moment := clock_timestamp();
        -- At least the clock's milliseconds: tokens grow over lost commits and restored backups too.
        update :"schema".lock k
        set last_token = greatest(k.last_token + 1, floor(extract(epoch from moment) * 1000)::bigint)
        where k.lock_name = wanted
        returning k.last_token into new_lease.token;

        insert into :"schema".lease
            (lock_name, token, owner_id, owner, units, shared, state, ticket, worker_session, ttl, waited,
             created_at, renewed_at, expires_at, start_by, context)
        values
            (wanted, new_lease.token, p_owner_id, p_owner, p_units, p_shared, p_state, p_ticket, p_session, p_seconds,
             extract(epoch from moment - coalesce(p_requested_at, moment)), moment, moment,
             moment + make_interval(secs => p_seconds),
             case when p_state = 'reserved' then moment + make_interval(secs => p_seconds) end, p_context)
        returning * into new_lease;

        perform :"schema"._log(case p_state when 'reserved' then 'reserved' else 'granted' end, new_lease);
        return next :"schema"._granted(new_lease);
    end loop;
end $$;

-- Take the rows of the wanted locks in sorted order, check the declared capacity, sweep.
create function :"schema"._open(p_lock_names text[], p_units integer, p_capacity integer) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    k :"schema".lock;
    found_rows integer := 0;
begin
    for k in
        select * from :"schema".lock l where l.lock_name = any (p_lock_names) order by l.lock_name for update
    loop
        found_rows := found_rows + 1;
        if p_capacity is not null and p_capacity <> k.capacity then
            raise exception 'lock "%" has capacity %, but capacity % was declared', k.lock_name, k.capacity, p_capacity
                using errcode = 'LP001', hint = 'declare the same everywhere, or change it with set_capacity()';
        end if;
        if p_units > k.capacity then
            raise exception 'lock "%" has capacity %, so % units can never be granted', k.lock_name, k.capacity, p_units
                using errcode = 'LP001', hint = 'ask for fewer units, or raise the capacity with set_capacity()';
        end if;
    end loop;
    if found_rows <> cardinality(p_lock_names) then
        raise exception 'lock % has no row yet', p_lock_names
            using errcode = 'LP404', hint = 'call declare() first, in its own transaction';
    end if;
    perform :"schema"._sweep(name) from unnest(p_lock_names) name order by name;
end $$;

create function :"schema"._check_request(p_lock_names text[], p_owner_id text, p_units integer, p_seconds double precision)
returns void
language plpgsql immutable security definer set search_path = pg_catalog, pg_temp as $$
declare
    name text;
begin
    if coalesce(cardinality(p_lock_names), 0) = 0 then
        raise exception 'no lock name was given' using errcode = 'LP001';
    end if;
    foreach name in array p_lock_names loop
        if name is null or btrim(name) = '' or length(name) > 200 then
            raise exception 'lock name "%" must have 1 to 200 characters', left(name, 40) using errcode = 'LP001';
        end if;
    end loop;
    if (select count(distinct n) from unnest(p_lock_names) n) <> cardinality(p_lock_names) then
        raise exception 'lock names % repeat', p_lock_names using errcode = 'LP001';
    end if;
    if coalesce(p_owner_id, '') = '' then
        raise exception 'owner_id is empty: it must be unique per attempt' using errcode = 'LP001';
    end if;
    if p_units is null or p_units < 1 then
        raise exception 'units=% must be at least 1', p_units using errcode = 'LP001';
    end if;
    if p_seconds is null or not p_seconds > 0 or p_seconds > 31622400 then
        raise exception 'ttl=% must be above zero seconds and at most a year', p_seconds using errcode = 'LP001';
    end if;
end $$;
