-- What Redshift has and Postgres lacks, so that the statements for Redshift run here.
create or replace function public.getdate() returns timestamp language sql stable as $$
    select date_trunc('second', statement_timestamp() at time zone 'UTC')
$$;
create or replace function public.json_extract_path_text(json_string varchar, path_elem varchar, null_if_invalid boolean)
returns varchar language sql immutable as $$ select json_string::jsonb ->> path_elem $$;
create or replace view public.svv_transactions as
select k.pid, k.relation, k.mode as lock_mode, case when k.granted then 't' else 'f' end as granted
from pg_catalog.pg_locks k
where k.locktype = 'relation' and k.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database());
do $$ begin
    execute format('alter database %I set default_transaction_isolation = %L', current_database(), 'repeatable read');
end $$;
