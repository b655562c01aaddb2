-- What the engine's history says of one lock: the same question, answered by another witness.
with event as (
    select * from lockprovider.lease_event where lock_name = %(lock_name)s and token is not null
), grant_ as (
    select token, owner,
           min(at) filter (where event in ('granted', 'confirmed')) as held_from,
           min(at) filter (where event in ('released', 'expired', 'revoked')) as held_until,
           bool_or(ticket is not null) as waited,  -- who has a ticket stood in line, be it for a moment
           max(waited) as seconds_waited
    from event group by token, owner
    having bool_or(event in ('granted', 'confirmed'))
)
select count(*) filter (where waited) as waited,
       max(seconds_waited)::float as longest_wait,
       (select count(*) from grant_ a join grant_ b on a.token < b.token
        where tstzrange(a.held_from, coalesce(a.held_until, 'infinity'))
              && tstzrange(b.held_from, coalesce(b.held_until, 'infinity'))) as overlaps
from grant_
