-- Runs of Node B as it recorded them itself, each in a guarded transaction, by the database's clock.
with run as (
    select dag_id, run_id, token, tstzrange(started_at, coalesce(ended_at, 'infinity')) as during, ended_at
    from demo.node_b_run
)
select count(*)                                      as runs,
       count(distinct dag_id)                        as dags,
       count(*) filter (where ended_at is null)      as unfinished,
       (select count(*) from run a join run b on a.token < b.token and a.during && b.during) as overlaps,
       min(extract(epoch from lower(during) - previous_end))::float as shortest_gap
from (select *, lag(ended_at) over (order by lower(during)) as previous_end from run) run
