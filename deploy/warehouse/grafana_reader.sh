#!/bin/sh
# Run once, when the warehouse is made: a user for Grafana that may read the views of the locks, and nothing else.
# `airflow locks init` finds the role and grants it what it needs.
set -eu
psql --no-psqlrc --set ON_ERROR_STOP=1 --set password="$GRAFANA_READER_PASSWORD" \
  --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
create role lockprovider_reader nologin;
create role grafana_reader login password :'password';
grant lockprovider_reader to grafana_reader;
SQL
