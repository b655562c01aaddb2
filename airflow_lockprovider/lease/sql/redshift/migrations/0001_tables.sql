-- No keys: Redshift does not enforce them, but its planner believes them. All writes happen under LOCK mutex.
create table :"schema"."lock" (
    lock_name  varchar(800) not null,
    lock_key   varchar(24) not null,
    capacity   integer not null,
    last_token bigint not null,
    paused     boolean not null,
    note       varchar(8000),
    created_at timestamp not null
);
create table :"schema".lease (
    lock_name      varchar(800) not null,
    lock_key       varchar(24) not null,
    token          bigint not null,
    owner_id       varchar(4000) not null,
    owner          varchar(4000) not null,
    units          integer not null,
    shared         boolean not null,
    state          varchar(10) not null,
    ticket         bigint,
    worker_session varchar(400),
    ttl            double precision not null,
    waited         double precision not null,
    created_at     timestamp not null,
    renewed_at     timestamp not null,
    expires_at     timestamp not null,
    start_by       timestamp,
    hold_until     timestamp,
    context        varchar(60000) not null
);
create table :"schema".waiter (
    ticket         bigint not null,
    lock_name      varchar(800) not null,
    owner_id       varchar(4000) not null,
    owner          varchar(4000) not null,
    units          integer not null,
    shared         boolean not null,
    priority       integer not null,
    context        varchar(60000) not null,
    created_at     timestamp not null,
    seen_at        timestamp not null,
    worker_session varchar(400)
);
create table :"schema".worker_session (
    session_id varchar(400) not null,
    seen_at    timestamp not null
);
create table :"schema".lease_event (
    event_id  bigint not null,
    at        timestamp not null,
    lock_name varchar(800) not null,
    token     bigint,
    owner_id  varchar(4000) not null,
    owner     varchar(4000) not null,
    event     varchar(20) not null,
    ticket    bigint,
    units     integer,
    waited    double precision,
    held      double precision,
    actor     varchar(4000),
    reason    varchar(8000),
    context   varchar(60000)
);
-- There are no sequences: one row, counted under the mutex.
create table :"schema".counter (
    ticket bigint not null,
    event  bigint not null,
    token  bigint not null
);
insert into :"schema".counter (ticket, event, token) values (0, 0, 0);
create table :"schema".done (
    lock_name varchar(800) not null,
    once_key  varchar(2000) not null,
    token     bigint not null,
    owner_id  varchar(4000) not null,
    owner     varchar(4000) not null,
    done_at   timestamp not null
);
