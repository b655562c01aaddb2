-- History is written in the order of time, so a few pages say where a day of it lies.

create index lease_event_at on :"schema".lease_event using brin (at) with (autosummarize = on);
