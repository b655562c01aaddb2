-- Who waits for a lock on a worker, just before it becomes free.

alter table :"schema".lease add column deferred boolean not null default false;
comment on column :"schema".lease.deferred is 'The holder has no worker now and needs one to finish: nobody is called up meanwhile.';

create table :"schema".standby (
    ticket        bigint primary key,  -- no foreign keys: the row stays as history for a while
    mode          text not null check (mode in ('auto', 'always')),
    expected_hold double precision,
    calls         integer not null default 0,
    called_at     timestamptz,
    arrived_at    timestamptz,
    ready_until   timestamptz not null default '-infinity',
    created_at    timestamptz not null default clock_timestamp()
) with (fillfactor = 50);
comment on table :"schema".standby is 'Requests that may wait on a worker: called up at, arrived there at, counted as at the ready until. No row: never.';
create index standby_called on :"schema".standby (called_at);
create index standby_created on :"schema".standby (created_at);

create table :"schema".standby_rest (
    lock_name   text primary key,
    rests_until timestamptz not null
);
comment on table :"schema".standby_rest is 'Locks for which a call-up came to nothing: no other one until then.';
