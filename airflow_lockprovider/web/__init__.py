"""The Locks page: a FastAPI app beside Airflow's own, shown in an iframe of its UI."""
