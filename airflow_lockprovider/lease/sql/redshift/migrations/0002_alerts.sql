-- What people have been told, so that a thousand failures are not a thousand messages. As on Postgres, but without keys.
create table :"schema".alert (
    alert_key        varchar(2000) not null,
    title            varchar(8000) not null,
    is_open          boolean not null,
    announced        boolean not null,
    occurrences      bigint not null,
    first_seen       timestamp not null,
    last_seen        timestamp not null,
    told             integer not null,
    told_occurrences bigint not null,
    told_at          timestamp,
    due_at           timestamp not null
);
-- Single failures of the last days. Part: what of it must work again (a map index).
create table :"schema".alert_occurrence (
    alert_key  varchar(2000) not null,
    occurrence varchar(2000) not null,
    part       varchar(2000) not null,
    is_open    boolean not null,
    seen_at    timestamp not null
);
-- Not the mutex of the locks: a storm of failures must hold up no lock. All writes of these tables happen under it.
create table :"schema".alert_mutex (nothing integer);
