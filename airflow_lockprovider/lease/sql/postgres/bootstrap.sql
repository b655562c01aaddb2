create schema if not exists :"schema";
create table if not exists :"schema".schema_version (
    version    integer primary key,
    digest     text not null,
    applied_at timestamptz not null default clock_timestamp()
);
comment on table :"schema".schema_version is 'Which migrations ran. digest: what the functions and views were made from.';
