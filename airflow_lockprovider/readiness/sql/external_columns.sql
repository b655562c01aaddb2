-- The partition keys of an external table; no row: Redshift knows no such table.
SELECT columnname
FROM svv_external_columns
WHERE schemaname = :schema_name AND tablename = :table_name AND part_key > 0
ORDER BY part_key
