-- All runs and their tasks, as Airflow's scheduler sees them.
select r.dag_id, r.run_id, r.state, t.task_id, t.map_index, t.state as task_state
from dag_run r left join task_instance t on t.dag_id = r.dag_id and t.run_id = r.run_id
order by r.dag_id, r.run_id, t.task_id, t.map_index
