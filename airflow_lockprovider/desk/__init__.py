"""What people do with locks on a command line: below `airflow locks` and `lockprovider`, and knowing neither."""
