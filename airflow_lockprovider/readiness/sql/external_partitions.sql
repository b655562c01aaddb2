-- Which of the wanted partitions does Redshift see? "values" is JSON text; :wanted has one such text in each line.
SELECT "values", location
FROM svv_external_partitions
WHERE schemaname = :schema_name AND tablename = :table_name
  AND POSITION(CHR(10) || "values" || CHR(10) IN :wanted) > 0
