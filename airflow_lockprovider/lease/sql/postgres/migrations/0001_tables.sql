-- The tables of the lease engine. Nobody but their owner writes them; everybody else goes through the functions.

create table :"schema".lock (
    lock_name   text primary key,
    capacity    integer not null default 1 check (capacity >= 1),
    last_token  bigint not null default 0,
    paused      boolean not null default false,
    note        text,
    created_at  timestamptz not null default clock_timestamp()
) with (fillfactor = 50);
comment on table :"schema".lock is 'The signal table: one row per lock, never deleted. Every decision about a lock is made while holding its row.';
comment on column :"schema".lock.last_token is 'The fencing token of the newest grant. It never goes back, so the row is never deleted.';

create table :"schema".lease (
    lock_name      text not null,  -- no foreign key: grants hold the lock's row, and it is never deleted
    token          bigint not null,
    owner_id       text not null,
    owner          text not null,
    units          integer not null default 1 check (units >= 1),
    shared         boolean not null default false,
    state          text not null check (state in ('reserved', 'held', 'released', 'revoked', 'expired')),
    ticket         bigint,
    worker_session text,
    ttl            double precision not null check (ttl > 0),
    waited         double precision not null default 0,
    created_at     timestamptz not null default clock_timestamp(),
    renewed_at     timestamptz not null default clock_timestamp(),
    expires_at     timestamptz not null,
    start_by       timestamptz,
    hold_until     timestamptz,
    context        jsonb not null default '{}',
    primary key (lock_name, token)
) with (fillfactor = 70);
comment on table :"schema".lease is 'Current grants. A row that is released, revoked or expired and still here is draining: its guarded transaction is open, so it still counts.';
create index lease_owner on :"schema".lease (owner_id);

create sequence :"schema".ticket;

create table :"schema".waiter (
    ticket         bigint not null,
    lock_name      text not null references :"schema".lock,
    owner_id       text not null,
    owner          text not null,
    units          integer not null default 1 check (units >= 1),
    shared         boolean not null default false,
    priority       integer not null default 0,
    context        jsonb not null default '{}',
    created_at     timestamptz not null default clock_timestamp(),
    seen_at        timestamptz not null default clock_timestamp(),
    worker_session text,
    primary key (ticket, lock_name),
    unique (owner_id, lock_name)
);
comment on table :"schema".waiter is 'Queued requests. A request for several locks has one ticket and a row per lock.';
create index waiter_line on :"schema".waiter (lock_name, priority desc, ticket);

create table :"schema".worker_session (
    session_id text primary key,
    seen_at    timestamptz not null default clock_timestamp()
) with (fillfactor = 50);
comment on table :"schema".worker_session is 'One row per process that looks after waiters: a poll updates one row, however many wait.';

create table :"schema".lease_event (
    event_id  bigint generated always as identity primary key,
    at        timestamptz not null default clock_timestamp(),
    lock_name text not null,
    token     bigint,
    owner_id  text not null,
    owner     text not null,
    event     text not null,
    ticket    bigint,
    units     integer,
    waited    double precision,
    held      double precision,
    actor     text,
    reason    text,
    context   jsonb
);
comment on table :"schema".lease_event is 'History, append only. waited and held are seconds.';
create index lease_event_lock on :"schema".lease_event (lock_name, event_id);

-- What every deciding function answers: one row per lock when granted, one per blocking lease when busy.
create type :"schema".answer as (
    outcome    text,                 -- granted | busy | gone
    lock_name  text,
    token      bigint,
    owner_id   text,
    owner      text,
    units      integer,
    shared     boolean,
    state      text,
    ttl        double precision,     -- seconds
    remaining  double precision,     -- seconds until it expires, when this answer was made
    created_at timestamptz,
    expires_at timestamptz,
    context    jsonb,
    ticket     bigint,
    waited     double precision,     -- seconds
    "position" integer,              -- living requests ahead
    paused     boolean
);

create table :"schema".done (
    lock_name text not null,
    once_key  text not null,
    token     bigint not null,
    owner_id  text not null,
    owner     text not null,
    done_at   timestamptz not null default clock_timestamp(),
    primary key (lock_name, once_key)
);
comment on table :"schema".done is 'Work that must be done once and has succeeded: under which key, by whom and when.';
create index done_at on :"schema".done (done_at);
