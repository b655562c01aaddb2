-- What the verbs are made of. Callers hold the rows of all wanted locks, taken in sorted order.
-- Every statement of a VOLATILE function has its own snapshot, so what is read after the row lock is fresh;
-- clock_timestamp(), never now(): now() is the start of the transaction, before the wait for the row.
-- No function here is granted to anybody: they run with the rights and the search_path of the verb that calls them.

-- p_grants: false for a verb that only gives back, which may be committed without the disk (see the statement release).
create function :"schema"._precheck(p_grants boolean default true) returns void
language plpgsql as $$
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
    if p_grants and current_setting('synchronous_commit') = 'off' then
        perform set_config('synchronous_commit', 'on', true);
    end if;
end $$;

create function :"schema"._log(
    p_event text, p_lease :"schema".lease, p_held double precision default null,
    p_actor text default null, p_reason text default null
) returns void
language plpgsql as $$
begin
    insert into :"schema".lease_event
        (lock_name, token, owner_id, owner, event, ticket, units, waited, held, actor, reason, context)
    values
        (p_lease.lock_name, p_lease.token, p_lease.owner_id, p_lease.owner, p_event, p_lease.ticket, p_lease.units,
         p_lease.waited, p_held, p_actor, p_reason, p_lease.context);
end $$;

-- Tell those who LISTEN, but only if somebody waits: a notification takes a lock on the queue of notifications. It says
-- whose turn it may be, as the name of the lock, a line feed, and tickets with commas: else all would come running, and
-- the one whose turn it is would have to wait for them. A hint: who counts as living is known to the asking verb alone.
create function :"schema"._wake(p_lock_name text) returns void
language plpgsql as $$
declare
    leader record;
begin
    -- The usual case: a mutex, and the first in line wants it for itself.
    select w.ticket, w.shared, k.capacity into leader
    from :"schema".lock k, lateral :"schema"._living(p_lock_name, 10) w
    where k.lock_name = p_lock_name order by w.priority desc, w.ticket limit 1;
    if leader.capacity = 1 and not leader.shared then
        perform pg_notify(:'schema', p_lock_name || E'\n' || leader.ticket);
    elsif exists (select 1 from :"schema".waiter w where w.lock_name = p_lock_name) then
        perform pg_notify(:'schema', p_lock_name || E'\n' || coalesce(string_agg(head.ticket::text, ','), ''))
        from (
            select w.ticket, row_number() over line as place, first_value(w.shared) over line as shared
            from (select * from :"schema"._living(p_lock_name, 10) l order by l.priority desc, l.ticket limit 20) w
            window line as (order by w.priority desc, w.ticket)
        ) head
        where head.shared or head.place <= greatest(1, (
            select k.capacity - coalesce(sum(l.units), 0)
            from :"schema".lock k left join :"schema".lease l on l.lock_name = k.lock_name
            where k.lock_name = p_lock_name group by k.lock_name));
    end if;
end $$;

-- The same after a grant to somebody in line: the next one may fit beside it. Not on a lock that is full now.
create function :"schema"._wake_next(p_lock_names text[]) returns void
language plpgsql as $$
declare
    name text;
begin
    if not exists (
        select 1 from :"schema".lease l join :"schema".lock k on k.lock_name = l.lock_name
        where l.lock_name = any (p_lock_names) and (l.shared or l.units < k.capacity))
    then
        return;  -- all taken by one, as usual
    end if;
    for name in
        select l.lock_name from :"schema".lease l join :"schema".lock k on k.lock_name = l.lock_name
        where l.lock_name = any (p_lock_names)
        group by l.lock_name having bool_or(l.shared) or sum(l.units) < min(k.capacity)
    loop
        perform :"schema"._wake(name);
    end loop;
end $$;

-- Remove what is over. A row whose guarded transaction is still open is skipped: it drains, and counts.
create function :"schema"._remove_dead(p_lock_name text) returns integer
language plpgsql as $$
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
language plpgsql as $$
declare
    gone :"schema".lease;
    expired integer := 0;
begin
    if not exists (
        select 1 from :"schema".lease l
        where l.lock_name = p_lock_name and (l.state not in ('held', 'reserved') or l.expires_at <= clock_timestamp()))
    then
        return 0;
    end if;
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
language sql stable as $$
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

-- The requests of one lock that count, as above, without counting them: to look whether there is one at all.
create function :"schema"._living(p_lock_name text, p_skip_after double precision)
returns table (ticket bigint, priority integer, shared boolean)
language sql stable as $$
    select w.ticket, w.priority, w.shared
    from :"schema".waiter w
    left join :"schema".worker_session s on s.session_id = w.worker_session
    where w.lock_name = p_lock_name
      and w.units <= (select k.capacity from :"schema".lock k where k.lock_name = p_lock_name)
      and greatest(w.seen_at, s.seen_at) > clock_timestamp() - make_interval(secs => p_skip_after)
      and not exists (
          select 1 from :"schema".lease l
          where l.lock_name = p_lock_name and l.ticket = w.ticket
            and l.state = 'reserved' and l.expires_at > clock_timestamp())
$$;

-- Whether somebody who counts and conflicts stands before this request in the line of one lock. For the head of a long
-- line this reads next to nothing. p_ticket null: a newcomer, behind everybody.
create function :"schema"._is_behind(
    p_lock_name text, p_ticket bigint, p_priority integer, p_shared boolean, p_skip_after double precision
) returns boolean
language plpgsql as $$
begin
    if p_ticket is null then
        return exists (
            select 1 from :"schema"._living(p_lock_name, p_skip_after) w where not (w.shared and p_shared));
    end if;
    -- Two ranges of the index waiter_line. For the head of the line they are empty: no need to ask who lives.
    return exists (
        select 1 from :"schema".waiter w where w.lock_name = p_lock_name and w.priority > p_priority
        union all
        select 1 from :"schema".waiter w
        where w.lock_name = p_lock_name and w.priority = p_priority and w.ticket < p_ticket
    ) and (exists (
        select 1 from :"schema"._living(p_lock_name, p_skip_after) w
        where w.priority > p_priority and not (w.shared and p_shared)
    ) or exists (
        select 1 from :"schema"._living(p_lock_name, p_skip_after) w
        where w.priority = p_priority and w.ticket < p_ticket and not (w.shared and p_shared)));
end $$;

-- Whether a request gets nothing now, to be seen without the locks' rows: an exclusive lease takes all there is of one of
-- them, or (p_ticket null: a newcomer) somebody stands in line. False: only a decision can tell, or it has to say what
-- is wrong with the request.
create function :"schema"._is_plainly_busy(
    p_lock_names text[], p_units integer[], p_capacity integer[], p_shared boolean[], p_owner_id text, p_ticket bigint,
    p_skip_after double precision
) returns boolean
language plpgsql stable as $$
begin
    return (
        exists (
            select 1 from :"schema".lease l join :"schema".lock k on k.lock_name = l.lock_name
            where l.lock_name = any (p_lock_names) and l.units >= k.capacity and not l.shared
              and l.state in ('held', 'reserved') and l.expires_at > clock_timestamp())
        or (p_ticket is null and exists (
            select 1 from unnest(p_lock_names, p_shared) n (lock_name, shared),
                lateral :"schema"._living(n.lock_name, p_skip_after) w
            where not (w.shared and n.shared)))
    ) and not exists (
        select 1 from :"schema".lease l
        where l.lock_name = any (p_lock_names) and (l.owner_id = p_owner_id or l.ticket = p_ticket)
    ) and not (p_ticket is null and exists (
        select 1 from :"schema".waiter w where w.lock_name = any (p_lock_names) and w.owner_id = p_owner_id)
    ) and (
        select count(*) from unnest(p_lock_names, p_units, p_capacity) n (lock_name, units, capacity)
        join :"schema".lock k on k.lock_name = n.lock_name
        where n.units <= k.capacity and (n.capacity is null or n.capacity = k.capacity)
    ) = cardinality(p_lock_names);
end $$;

-- How many requests stand before the farthest place of one request. p_ticket null: a newcomer.
create function :"schema"._position(
    p_lock_names text[], p_ticket bigint, p_shared boolean[], p_skip_after double precision
) returns integer
language plpgsql as $$
declare
    line integer := 0;
begin
    for i in 1 .. cardinality(p_lock_names) loop
        line := greatest(line, :"schema"._ahead(p_lock_names[i], p_ticket, p_shared[i], p_skip_after));
    end loop;
    return line;
end $$;

-- How many requests stand before this one in the line of one lock. p_ticket null: a newcomer, behind everybody.
create function :"schema"._ahead(p_lock_name text, p_ticket bigint, p_shared boolean, p_skip_after double precision)
returns integer
language plpgsql as $$
begin
    if p_ticket is null then
        return (select count(*) from :"schema"._living(p_lock_name, p_skip_after) w where not (w.shared and p_shared));
    end if;
    return coalesce((
        select case when n.shared then n.ahead_exclusive else n.ahead end
        from :"schema"._line(array[p_lock_name], p_skip_after) n where n.ticket = p_ticket), 0);
end $$;

-- Whether the units fit beside what is granted now. Every row counts, draining ones too; for a plain look without the
-- lock's row (living_only) what is over, or whose time has come, is left out: whether it can go, only a try finds out.
create function :"schema"._fits(p_lock_name text, p_units integer, p_shared boolean, p_living_only boolean) returns boolean
language plpgsql as $$
begin
    -- No row of the lock: no.
    return (
        select coalesce(case
            when count(k.lock_name) = 0 then false
            when p_shared then coalesce(not bool_or(not l.shared), true)
            else coalesce(not bool_or(l.shared), true) and coalesce(sum(l.units), 0) + p_units <= min(k.capacity)
        end, false)
        from :"schema".lock k
        left join :"schema".lease l on l.lock_name = k.lock_name
            and (not p_living_only or (l.state in ('held', 'reserved') and l.expires_at > clock_timestamp())
                 or l.hold_until > clock_timestamp())
        where k.lock_name = p_lock_name);
end $$;

create function :"schema"._gone(p_ticket bigint) returns :"schema".answer
language sql immutable as $$
    select ('gone', null, null, null, null, null, null, null, null, null, null, null, null, p_ticket, null, 0, false):::"schema".answer
$$;

create function :"schema"._granted(p_lease :"schema".lease) returns :"schema".answer
language sql volatile as $$
    select ('granted', p_lease.lock_name, p_lease.token, p_lease.owner_id, p_lease.owner, p_lease.units, p_lease.shared,
        p_lease.state, p_lease.ttl, extract(epoch from p_lease.expires_at - clock_timestamp())::double precision,
        p_lease.created_at, p_lease.expires_at, p_lease.context, p_lease.ticket, p_lease.waited, 0, false):::"schema".answer
$$;

-- The locks with all that counts on them, as the answer of a verb that got nothing.
create function :"schema"._busy(p_lock_names text[], p_ticket bigint, p_position integer)
returns setof :"schema".answer
language sql stable as $$
    select 'busy', k.lock_name, l.token, l.owner_id, l.owner, l.units, l.shared, l.state, l.ttl,
           extract(epoch from l.expires_at - clock_timestamp())::double precision,
           l.created_at, l.expires_at, l.context, p_ticket, l.waited, p_position, k.paused
    from :"schema".lock k
    left join :"schema".lease l on l.lock_name = k.lock_name
    where k.lock_name = any (p_lock_names)
    order by k.lock_name, l.token
$$;

-- Grant without asking: the caller has decided. One statement for all locks, and one moment: they expire together.
create function :"schema"._grant(
    p_lock_names text[], p_owner_id text, p_owner text, p_units integer[], p_shared boolean[],
    p_ticket bigint, p_requested_at timestamptz, p_state text, p_seconds double precision, p_hold double precision,
    p_session text, p_context jsonb
) returns setof :"schema".answer
language plpgsql as $$
#variable_conflict use_column
declare
    moment timestamptz := clock_timestamp();
begin
    return query
        with numbered as (
            -- At least the clock's milliseconds: tokens grow over lost commits and restored backups too.
            update :"schema".lock k
            set last_token = greatest(k.last_token + 1, floor(extract(epoch from moment) * 1000)::bigint)
            from unnest(p_lock_names, p_units, p_shared) w (lock_name, units, shared)
            where k.lock_name = w.lock_name
            returning k.lock_name, k.last_token, w.units, w.shared
        ), made as (
            insert into :"schema".lease
                (lock_name, token, owner_id, owner, units, shared, state, ticket, worker_session, ttl, waited,
                 created_at, renewed_at, expires_at, start_by, hold_until, context)
            select n.lock_name, n.last_token, p_owner_id, p_owner, n.units, n.shared, p_state, p_ticket, p_session, p_seconds,
                   extract(epoch from moment - coalesce(p_requested_at, moment)), moment, moment,
                   moment + make_interval(secs => p_seconds),
                   case when p_state = 'reserved' then moment + make_interval(secs => p_seconds) end,
                   case when p_state = 'held' and p_hold > 0 then moment + make_interval(secs => p_hold) end,
                   p_context
            from numbered n
            returning *
        ), logged as (
            insert into :"schema".lease_event (lock_name, token, owner_id, owner, event, ticket, units, waited, context)
            select m.lock_name, m.token, m.owner_id, m.owner, case p_state when 'reserved' then 'reserved' else 'granted' end,
                   m.ticket, m.units, m.waited, m.context
            from made m
        )
        select 'granted', m.lock_name, m.token, m.owner_id, m.owner, m.units, m.shared, m.state, m.ttl,
               extract(epoch from m.expires_at - clock_timestamp())::double precision,
               m.created_at, m.expires_at, m.context, m.ticket, m.waited, 0, false
        from made m order by m.lock_name;
end $$;

-- Decide one request for one or several locks: all or nothing. The rows of the locks are held and swept by the caller.
-- p_taken: there are leases on them, or a pause; else only the lines have to be looked at.
-- One order for all lines (priority, then ticket), the same in each: so there is always a request that stands before
-- all others wherever it stands, and requests for several locks can not wait for each other in a circle.
create function :"schema"._admit(
    p_lock_names text[], p_owner_id text, p_owner text, p_units integer[], p_shared boolean[],
    p_ticket bigint, p_priority integer, p_requested_at timestamptz, p_state text, p_seconds double precision,
    p_hold double precision, p_session text, p_context jsonb, p_skip_after double precision, p_taken boolean
) returns setof :"schema".answer
language plpgsql as $$
declare
    blocked boolean := p_taken
        and exists (select 1 from :"schema".lock k where k.lock_name = any (p_lock_names) and k.paused);
begin
    for i in 1 .. cardinality(p_lock_names) loop
        exit when blocked;
        blocked := (p_taken and not :"schema"._fits(p_lock_names[i], p_units[i], p_shared[i], false))
            or :"schema"._is_behind(p_lock_names[i], p_ticket, p_priority, p_shared[i], p_skip_after);
    end loop;

    if blocked then
        return query select * from :"schema"._busy(
            p_lock_names, p_ticket, :"schema"._position(p_lock_names, p_ticket, p_shared, p_skip_after));
    else
        return query select * from :"schema"._grant(
            p_lock_names, p_owner_id, p_owner, p_units, p_shared, p_ticket, p_requested_at, p_state, p_seconds, p_hold,
            p_session, p_context);
    end if;
end $$;

-- Take the rows of the wanted locks in sorted order, check the declared capacity, sweep. True: somebody holds one of
-- them, or it is paused.
create function :"schema"._open(p_lock_names text[], p_units integer[], p_capacity integer[]) returns boolean
language plpgsql as $$
declare
    wrong record;
    found_rows integer;
    taken boolean;
begin
    select count(*), bool_or(k.paused) into found_rows, taken
    from (
        select l.paused from :"schema".lock l where l.lock_name = any (p_lock_names) order by l.lock_name for update
    ) k;
    if found_rows <> cardinality(p_lock_names) then
        raise exception 'lock % has no row yet', p_lock_names
            using errcode = 'LP404', hint = 'call declare() first, in its own transaction';
    end if;
    if p_capacity is not null or 1 <> any (p_units) then  -- one unit is never too much
        select k.lock_name, k.capacity, n.capacity as declared, n.units into wrong
        from :"schema".lock k
        join unnest(p_lock_names, p_units, p_capacity) n (lock_name, units, capacity) on n.lock_name = k.lock_name
        where n.capacity <> k.capacity or n.units > k.capacity
        order by k.lock_name limit 1;
        if wrong.declared <> wrong.capacity then
            raise exception 'lock "%" has capacity %, but capacity % was declared',
                wrong.lock_name, wrong.capacity, wrong.declared
                using errcode = 'LP001', hint = 'declare the same everywhere, or change it with set_capacity()';
        elsif wrong.units > wrong.capacity then
            raise exception 'lock "%" has capacity %, so % units can never be granted',
                wrong.lock_name, wrong.capacity, wrong.units
                using errcode = 'LP001', hint = 'ask for fewer units, or raise the capacity with set_capacity()';
        end if;
    end if;
    if exists (select 1 from :"schema".lease l where l.lock_name = any (p_lock_names)) then
        for i in 1 .. cardinality(p_lock_names) loop
            perform :"schema"._sweep(p_lock_names[i]);
        end loop;
        taken := taken or exists (select 1 from :"schema".lease l where l.lock_name = any (p_lock_names));
    end if;
    return taken;
end $$;

-- A reservation holds for all locks of its ticket or for none: what is left of one that has lapsed or was taken away
-- in part is given up.
create function :"schema"._drop_partial(p_ticket bigint, p_lock_names text[]) returns void
language plpgsql as $$
declare
    rest :"schema".lease;
begin
    if (select count(*) from :"schema".lease l
        where l.lock_name = any (p_lock_names) and l.ticket = p_ticket and l.state = 'reserved'
          and l.expires_at > clock_timestamp()) not between 1 and cardinality(p_lock_names) - 1
    then
        return;
    end if;
    for rest in
        update :"schema".lease l set state = 'expired'
        where l.lock_name = any (p_lock_names) and l.ticket = p_ticket and l.state = 'reserved'
        returning l.*
    loop
        perform :"schema"._log('lapsed', rest, extract(epoch from clock_timestamp() - rest.created_at));
        perform :"schema"._remove_dead(rest.lock_name);
    end loop;
end $$;

create function :"schema"._check_request(
    p_lock_names text[], p_owner_id text, p_units integer[], p_seconds double precision, p_hold double precision default 0
) returns void
language plpgsql immutable as $$
declare
    name text;
    units integer;
begin
    -- The usual request, seen in one expression. What is wrong with another one is told below.
    if cardinality(p_lock_names) = 1 and cardinality(p_units) = 1 and btrim(p_lock_names[1]) <> ''
        and length(p_lock_names[1]) <= 200 and p_owner_id <> '' and p_units[1] >= 1
        and p_seconds > 0 and p_seconds <= 31622400 and p_hold >= 0 and p_hold <= 31622400
    then
        return;
    end if;
    if coalesce(cardinality(p_lock_names), 0) = 0 then
        raise exception 'no lock name was given' using errcode = 'LP001';
    end if;
    foreach name in array p_lock_names loop
        if name is null or btrim(name) = '' or length(name) > 200 then
            raise exception 'lock name "%" must have 1 to 200 characters', left(name, 40) using errcode = 'LP001';
        end if;
    end loop;
    if cardinality(p_lock_names) > 1
        and (select count(distinct n) from unnest(p_lock_names) n) <> cardinality(p_lock_names)
    then
        raise exception 'lock names % repeat', p_lock_names using errcode = 'LP001';
    end if;
    if coalesce(p_owner_id, '') = '' then
        raise exception 'owner_id is empty: it must be unique per attempt' using errcode = 'LP001';
    end if;
    if coalesce(cardinality(p_units), 0) <> cardinality(p_lock_names) then
        raise exception 'units=% must name as many numbers as there are locks in %', p_units, p_lock_names
            using errcode = 'LP001';
    end if;
    foreach units in array p_units loop
        if units is null or units < 1 then
            raise exception 'units=% must be at least 1', units using errcode = 'LP001';
        end if;
    end loop;
    if p_seconds is null or not p_seconds > 0 or p_seconds > 31622400 then
        raise exception 'ttl=% must be above zero seconds and at most a year', p_seconds using errcode = 'LP001';
    end if;
    if p_hold is null or not p_hold >= 0 or p_hold > 31622400 then
        raise exception 'hold_at_least=% must be at least zero seconds and at most a year', p_hold using errcode = 'LP001';
    end if;
end $$;

-- The ticket with which this owner already stands in line for these locks; null: none. Another set of locks under the
-- same owner_id would be granted in place of the one that is asked for now.
create function :"schema"._ticket_of(p_owner_id text, p_lock_names text[]) returns bigint
language plpgsql as $$
declare
    number bigint;
    names text[];
begin
    select w.ticket into number from :"schema".waiter w
    where w.owner_id = p_owner_id and w.lock_name = any (p_lock_names) limit 1;
    if number is null then
        return null;
    end if;
    select array_agg(w.lock_name) into names from :"schema".waiter w where w.ticket = number;
    if not (names @> p_lock_names and names <@ p_lock_names) then
        raise exception 'owner_id % already waits for the locks % with ticket %, so not for %',
            p_owner_id, names, number, p_lock_names
            using errcode = 'LP001', hint = 'withdraw that ticket, or use an owner_id of its own for each request';
    end if;
    return number;
end $$;
