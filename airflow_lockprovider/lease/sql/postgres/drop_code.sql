-- Functions and views hold no data: every upgrade makes them anew, in one transaction.
drop view if exists :"schema".locks, :"schema".lock_queue, :"schema".lock_stats, :"schema".lock_owners, :"schema".lock_events;
drop trigger if exists guard_not_alone on :"schema".lease_event;
do $$
declare
    routine regprocedure;
begin
    for routine in
        select p.oid::regprocedure from pg_catalog.pg_proc p
        where p.pronamespace = (select n.oid from pg_catalog.pg_namespace n where n.nspname = :'schema')
    loop
        execute 'drop function ' || routine;
    end loop;
end $$;
