do $$
begin
    if not exists (select 1 from pg_catalog.pg_namespace n where n.nspname = :'schema') then
        create schema :"schema";
    elsif pg_catalog.to_regclass(:'schema' || '.schema_version') is null and (
        exists (select 1 from pg_catalog.pg_class c where c.relnamespace = :'schema'::regnamespace)
        or exists (select 1 from pg_catalog.pg_proc p where p.pronamespace = :'schema'::regnamespace)
    ) then
        -- An upgrade makes all functions of the schema anew: never those of somebody else.
        raise exception 'schema "%" is in use by something else', :'schema'
            using errcode = 'LP001', hint = 'the locks need a schema of their own: name another one';
    end if;
end $$;
create table if not exists :"schema".schema_version (
    version    integer primary key,
    digest     text not null,
    applied_at timestamptz not null default clock_timestamp()
);
comment on table :"schema".schema_version is 'Which migrations ran. digest: what the functions and views were made from.';
