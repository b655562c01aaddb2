-- What people have been told, so that a thousand failures are not a thousand messages.

create table :"schema".alert (
    alert_key        text primary key check (length(alert_key) between 1 and 500),
    title            text not null,
    is_open          boolean not null,
    announced        boolean not null,
    occurrences      bigint not null,
    first_seen       timestamptz not null,
    last_seen        timestamptz not null,
    told             integer not null,
    told_occurrences bigint not null,
    told_at          timestamptz,
    due_at           timestamptz not null
);
comment on table :"schema".alert is 'Troubles, one row each: how often since when, and which part of that people know.';
comment on column :"schema".alert.announced is 'Whether people think that it is broken: told of it, and not yet told that it is over.';
comment on column :"schema".alert.told is 'Messages of this episode.';
comment on column :"schema".alert.due_at is 'No further message before, unless the number grows tenfold.';
create index alert_open on :"schema".alert (due_at) where is_open;

create table :"schema".alert_occurrence (
    alert_key  text not null,
    occurrence text not null,
    part       text not null,
    is_open    boolean not null,
    seen_at    timestamptz not null,
    primary key (alert_key, occurrence)
);
comment on table :"schema".alert_occurrence is 'Single failures of the last days: one that is told of twice counts once. Part: what of it must work again (a map index).';
create index alert_occurrence_open on :"schema".alert_occurrence (alert_key, part) where is_open;
create index alert_occurrence_seen on :"schema".alert_occurrence (seen_at);
