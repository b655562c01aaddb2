-- reader: views. writer: the guard alone. worker: the verbs. admin: revoke, pause, capacity.
-- Roles belong to the whole server; who may not create them gets the tables all the same, and a notice.

do $$
declare
    kind text;
    role text;
begin
    revoke all on all functions in schema :"schema" from public;
    foreach kind in array array['reader', 'writer', 'worker', 'admin'] loop
        role := :'schema' || '_' || kind;
        -- Ask first: who may not create roles is told so even if the role is there.
        if not exists (select 1 from pg_catalog.pg_roles r where r.rolname = role) then
            begin
                execute format('create role %I nologin', role);
            exception
                when duplicate_object or unique_violation then null;
                when insufficient_privilege then
                    raise notice 'role % is missing and this user may not create roles: ask a database administrator', role;
                    continue;
            end;
        end if;
        execute format('grant usage on schema %I to %I', :'schema', role);
        if kind in ('reader', 'worker', 'admin') then
            execute format('grant select on %I.locks, %I.lock_queue, %I.lock_stats, %I.lock_owners, %I.lock_events, %I.lease_event, %I.schema_version, %I.done, %I.alert to %I',
                :'schema', :'schema', :'schema', :'schema', :'schema', :'schema', :'schema', :'schema', :'schema', role);
        end if;
        if kind in ('writer', 'worker', 'admin') then
            execute format('grant execute on function %I.guard(text, bigint), %I.still_held(text, bigint) to %I', :'schema', :'schema', role);
        end if;
        if kind in ('worker', 'admin') then
            execute format('grant select on %I.lease, %I.waiter, %I.lock to %I', :'schema', :'schema', :'schema', role);
            execute (
                select format('grant execute on function %s to %I', string_agg(p.oid::regprocedure::text, ', '), role)
                from pg_catalog.pg_proc p
                where p.pronamespace = (select n.oid from pg_catalog.pg_namespace n where n.nspname = :'schema')
                  and p.proname in ('declare', 'try_acquire', 'enqueue', 'poll', 'reserve', 'confirm', 'withdraw', 'renew',
                                    'release', 'adopt', 'clean_up', 'guard_pids', 'mark_done', 'linger', 'look', 'call_up',
                                    'stand_by', 'stand_down', 'has_worker', 'set_deferred',
                                    'unwatch', 'alert_seen', 'alert_over', 'alert_untold', 'alerts_due'));
        end if;
        if kind = 'admin' then
            execute (
                select format('grant execute on function %s to %I', string_agg(p.oid::regprocedure::text, ', '), role)
                from pg_catalog.pg_proc p
                where p.pronamespace = (select n.oid from pg_catalog.pg_namespace n where n.nspname = :'schema')
                  and p.proname in ('set_capacity', 'revoke', 'pause', 'resume', 'forget_done'));
        end if;
    end loop;
end $$;
