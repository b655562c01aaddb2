-- How many files Spectrum reads for one partition. It opens them, so a damaged or unreadable one is an error here.
SELECT COUNT(DISTINCT "$path") FROM {table} WHERE {condition}
