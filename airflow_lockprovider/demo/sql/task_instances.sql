-- Airflow's own record of one run.
select task_id, operator, state, start_date, end_date, try_number
from task_instance where dag_id = %(dag_id)s and run_id = %(run_id)s
order by start_date nulls last, task_id
