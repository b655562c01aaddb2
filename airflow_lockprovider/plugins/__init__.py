"""What Airflow loads by itself, in every process: so nothing here is made before it is asked for."""
