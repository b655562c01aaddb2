-- What `doctor` asks, also where there are no lock tables yet. A name, then one statement.

-- name: doctor_server
select current_user::text as user_name, current_setting('server_version') as server_version, clock_timestamp() as now,
       pg_is_in_recovery() as in_recovery, current_setting('transaction_read_only') = 'on' as read_only,
       pg_backend_pid() as pid,
       (select s.setting::integer from pg_catalog.pg_settings s where s.name = 'statement_timeout') as statement_timeout,
       current_setting('max_connections')::integer as max_connections,
       (select sum(d.numbackends)::integer from pg_catalog.pg_stat_database d) as connections

-- name: doctor_rights
-- Functions and views of the schema, and whether this user may call or read them.
select p.proname::text as name, bool_and(has_function_privilege(p.oid, 'execute')) as may
from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where n.nspname = :'schema' group by p.proname
union all
select c.relname::text, has_table_privilege(c.oid, 'select')
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = :'schema' and c.relkind = 'v'
union all
select ':schema', has_schema_privilege(n.oid, 'usage') from pg_catalog.pg_namespace n where n.nspname = :'schema'

-- name: doctor_notify
select pg_notify(:'schema', %(payload)s)
