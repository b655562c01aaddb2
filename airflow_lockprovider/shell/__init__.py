"""The command `lockprovider`: locks without Airflow: for cron, Kubernetes, people. Standard library and lease only."""
