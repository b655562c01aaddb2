-- The guard: makes a transaction fail unless the lease is still ours, and keeps the lock from being granted to
-- anybody else until that transaction has ended.

-- A label on the guarded session, visible in pg_locks, so that a person can find and end it. It excludes nobody.
-- (Writing the pid into the lease's row would stop every renewal until the guarded transaction ends.)
create function :"schema"._guard_label(p_lock_name text, p_token bigint) returns bigint
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select hashtextextended(:'schema' || ' ' || p_lock_name, p_token)
$$;

create function :"schema".guard_pids(lock_name text, token bigint) returns setof integer
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select k.pid from pg_locks k
    where k.locktype = 'advisory' and k.objsubid = 1
      and k.database = (select d.oid from pg_database d where d.datname = current_database())
      and (k.classid::bigint << 32 | k.objid::bigint) = :"schema"._guard_label(guard_pids.lock_name, guard_pids.token)
$$;

-- Raises unless the lease is held under this token. Used once more right before COMMIT.
create function :"schema".still_held(lock_name text, token bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s' as $$
declare
    mine :"schema".lease;
begin
    select * into mine from :"schema".lease l
    where l.lock_name = still_held.lock_name and l.token = still_held.token
    -- KEY SHARE: a renewal (a non-key UPDATE) passes beside it, a removal does not.
    for key share;
    if not found then
        raise exception 'lease on "%" with token % is gone: it was released, revoked, or expired and was granted anew',
            still_held.lock_name, still_held.token
            using errcode = 'LP409', hint = 'the transaction must not commit: stop this work and acquire the lock again';
    end if;
    -- REPEATABLE READ and SERIALIZABLE show the lease as it was when the transaction began: a renewal, and an end, since
    -- then are unseen. Once guarded, that its row is still there is what counts: nothing was granted on it meanwhile.
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable')
        and pg_backend_pid() in (select :"schema".guard_pids(still_held.lock_name, still_held.token))
    then
        return;
    end if;
    if mine.state <> 'held' or mine.expires_at <= clock_timestamp() then
        raise exception 'lease on "%" with token % is not held any more: it is %', still_held.lock_name, still_held.token,
            case when mine.state = 'held' then 'expired since ' || mine.expires_at else mine.state end
            using errcode = 'LP409', hint = 'the transaction must not commit: stop this work and acquire the lock again';
    end if;
end $$;

-- At COMMIT: another statement must have come after guard(). In an implicit transaction none has. guard() itself can not
-- always see that: under the extended protocol (parameters, JDBC) even a lone statement begins after its transaction.
create function :"schema"._guard_not_alone() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if new.at = statement_timestamp() then
        raise exception 'guard(''%'', %) stands alone in an implicit transaction, so it guards nothing', new.lock_name, new.token
            using errcode = 'LP001',
                  hint = 'switch autocommit off, or send BEGIN as a statement of its own, then guard(), the writes and COMMIT';
    end if;
    return null;
end $$;

create constraint trigger guard_not_alone after insert on :"schema".lease_event
deferrable initially deferred for each row when (new.event = 'guarded')
execute function :"schema"._guard_not_alone();

-- First statement of a guarded transaction. Renewals go on beside it. Until the transaction ends nothing else is
-- granted on this lock, also if the lease is released, revoked or expires meanwhile (it drains).
create function :"schema".guard(lock_name text, token bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    half_ttl integer;
    idle integer := (select s.setting::integer from pg_settings s where s.name = 'idle_in_transaction_session_timeout');
    written xid;
begin
    if transaction_timestamp() = statement_timestamp() then
        raise exception 'guard(''%'', %) stands alone in an implicit transaction, so it guards nothing',
            guard.lock_name, guard.token
            using errcode = 'LP001',
                  hint = 'switch autocommit off, or send BEGIN as a statement of its own, then guard(), the writes and COMMIT';
    end if;

    perform :"schema".still_held(guard.lock_name, guard.token);
    perform pg_advisory_xact_lock_shared(:"schema"._guard_label(guard.lock_name, guard.token));

    -- The row that this writes carries the number of the innermost transaction: inside a savepoint it is another one.
    insert into :"schema".lease_event (at, lock_name, token, owner_id, owner, event, context)
    select statement_timestamp(), l.lock_name, l.token, l.owner_id, l.owner, 'guarded', jsonb_build_object('pid', pg_backend_pid())
    from :"schema".lease l where l.lock_name = guard.lock_name and l.token = guard.token
    returning xmin into written;
    if written::text::bigint <> (pg_current_xact_id()::text::bigint & 4294967295) then
        raise exception 'guard(''%'', %) stands inside a savepoint: rolling back to it would drop the guard silently',
            guard.lock_name, guard.token
            using errcode = 'LP001', hint = 'call guard() before the first savepoint (also: outside of blocks with EXCEPTION)';
    end if;

    -- A client that vanishes must not drain for hours. Never looser than what is already set (0 means no limit).
    select least(ceil(l.ttl * 500), 2147483647)::integer into half_ttl
    from :"schema".lease l where l.lock_name = guard.lock_name and l.token = guard.token;
    if idle = 0 or idle > half_ttl then
        perform set_config('idle_in_transaction_session_timeout', half_ttl || 'ms', true);
    end if;
    if inet_client_addr() is not null and current_setting('tcp_keepalives_idle')::integer not between 1 and 30 then
        perform set_config('tcp_keepalives_idle', '30', true), set_config('tcp_keepalives_interval', '10', true),
                set_config('tcp_keepalives_count', '3', true);
    end if;
end $$;
