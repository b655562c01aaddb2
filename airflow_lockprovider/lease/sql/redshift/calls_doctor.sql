-- What `doctor` asks, also where there are no lock tables yet. A name, then one statement.

-- name: doctor_server
select current_user as user_name, version() as server_version, getdate() as now
