-- Whether people should be told of a failure now, and what of it they do not know yet.

-- Count one failure. Answers one row: should_tell, and then the caller must tell; the numbers of this episode and what
-- was known before. The same occurrence a second time counts nothing. An episode that was over for less than its pause
-- goes on: what breaks and works by turns is no news every time. pauses: seconds between messages, the last one for all
-- further ones; a tenfold number of failures is told at once.
create function :"schema".alert_seen(
    alert_key text, title text, part text, occurrence text, pauses double precision[], at timestamptz
) returns table (
    should_tell boolean, occurrences bigint, first_seen timestamptz, told integer, told_occurrences bigint, told_at timestamptz
)
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s' as $$
#variable_conflict use_column
declare
    now_at timestamptz := coalesce(alert_seen.at, clock_timestamp());
    mine :"schema".alert;
    tell boolean;
begin
    perform :"schema"._precheck();
    insert into :"schema".alert as a (alert_key, title, is_open, announced, occurrences, first_seen, last_seen, told,
        told_occurrences, told_at, due_at)
    values (alert_seen.alert_key, alert_seen.title, true, false, 0, now_at, now_at, 0, 0, null, now_at)
    on conflict do nothing;
    select * into strict mine from :"schema".alert a where a.alert_key = alert_seen.alert_key for update;
    if alert_seen.occurrence is not null then
        insert into :"schema".alert_occurrence (alert_key, occurrence, part, is_open, seen_at)
        values (alert_seen.alert_key, alert_seen.occurrence, coalesce(alert_seen.part, ''), true, now_at)
        on conflict do nothing;
        if not found then
            return query select false, mine.occurrences, mine.first_seen, mine.told, mine.told_occurrences, mine.told_at;
            return;
        end if;
    end if;

    if not mine.is_open and now_at > mine.due_at then
        mine.first_seen := now_at; mine.occurrences := 0; mine.told := 0; mine.told_occurrences := 0; mine.told_at := null;
    end if;
    mine.is_open := true;
    mine.title := alert_seen.title;
    mine.last_seen := now_at;
    mine.occurrences := mine.occurrences + 1;
    tell := now_at >= mine.due_at
        or mine.occurrences >= 10 and mine.occurrences = power(10, round(log(mine.occurrences::numeric)))::bigint;
    return query select tell, mine.occurrences, mine.first_seen, mine.told, mine.told_occurrences, mine.told_at;
    if tell then
        mine := :"schema"._alert_told(mine, alert_seen.pauses, now_at);
        delete from :"schema".alert_occurrence o where o.seen_at < now_at - interval '7 days';
    end if;
    update :"schema".alert a set title = mine.title, is_open = true, announced = mine.announced,
        occurrences = mine.occurrences, first_seen = mine.first_seen, last_seen = mine.last_seen, told = mine.told,
        told_occurrences = mine.told_occurrences, told_at = mine.told_at, due_at = mine.due_at
    where a.alert_key = mine.alert_key;
end $$;

-- The row after a message.
create function :"schema"._alert_told(mine :"schema".alert, pauses double precision[], at timestamptz) returns :"schema".alert
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    mine.told := mine.told + 1;
    mine.told_at := _alert_told.at;
    mine.told_occurrences := mine.occurrences;
    mine.announced := true;
    mine.due_at := _alert_told.at
        + make_interval(secs => _alert_told.pauses[least(mine.told, cardinality(_alert_told.pauses))]);
    return mine;
end $$;

-- It works again: this part of these troubles. Answers the episodes that are over with it and of which people know; the
-- caller must tell them. Other parts that failed within the last day keep an episode open.
create function :"schema".alert_over(alert_keys text[], part text, at timestamptz) returns table (
    alert_key text, title text, occurrences bigint, first_seen timestamptz, told integer, told_occurrences bigint
)
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s' as $$
#variable_conflict use_column
declare
    now_at timestamptz := coalesce(alert_over.at, clock_timestamp());
    mine :"schema".alert;
begin
    perform :"schema"._precheck();
    for mine in
        select * from :"schema".alert a where a.alert_key = any (alert_over.alert_keys) and a.is_open
        order by a.alert_key for update
    loop
        update :"schema".alert_occurrence o set is_open = false
        where o.alert_key = mine.alert_key and o.is_open and (alert_over.part is null or o.part = alert_over.part);
        continue when exists (
            select from :"schema".alert_occurrence o
            where o.alert_key = mine.alert_key and o.is_open and o.seen_at > now_at - interval '1 day');
        update :"schema".alert a set is_open = false, announced = false, told_occurrences = a.occurrences
        where a.alert_key = mine.alert_key;
        if mine.announced then
            return query select mine.alert_key, mine.title, mine.occurrences, mine.first_seen, mine.told, mine.told_occurrences;
        end if;
    end loop;
end $$;

-- Nobody could be told: what people know is what they knew before, told at told_at. The next failure tries again, after
-- a minute; what works again is told by the next success.
create function :"schema".alert_untold(
    alert_key text, recovered boolean, told_occurrences bigint, told_at timestamptz, at timestamptz
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s' as $$
#variable_conflict use_column
declare
    now_at timestamptz := coalesce(alert_untold.at, clock_timestamp());
begin
    perform :"schema"._precheck();
    if alert_untold.recovered then
        update :"schema".alert a set is_open = true, announced = true
        where a.alert_key = alert_untold.alert_key and not a.is_open;
    else
        update :"schema".alert a set told = greatest(0, a.told - 1), announced = a.told > 1,
            told_at = alert_untold.told_at, told_occurrences = alert_untold.told_occurrences,
            due_at = least(a.due_at, now_at + interval '1 minute')
        where a.alert_key = alert_untold.alert_key;
    end if;
    return found;
end $$;

-- Troubles whose number has grown since the last message, and whose pause is over: claimed, the caller must tell them.
create function :"schema".alerts_due(prefix text, pauses double precision[], at timestamptz) returns table (
    alert_key text, title text, occurrences bigint, first_seen timestamptz, told integer, told_occurrences bigint, told_at timestamptz
)
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s' as $$
#variable_conflict use_column
declare
    now_at timestamptz := coalesce(alerts_due.at, clock_timestamp());
    mine :"schema".alert;
    after :"schema".alert;
begin
    perform :"schema"._precheck();
    for mine in
        select * from :"schema".alert a
        where a.is_open and a.due_at <= now_at and a.occurrences > a.told_occurrences and starts_with(a.alert_key, alerts_due.prefix)
        order by a.due_at for update skip locked
    loop
        after := :"schema"._alert_told(mine, alerts_due.pauses, now_at);
        update :"schema".alert a set announced = true, told = after.told, told_occurrences = after.told_occurrences,
            told_at = after.told_at, due_at = after.due_at
        where a.alert_key = mine.alert_key;
        return query select mine.alert_key, mine.title, mine.occurrences, mine.first_seen, mine.told, mine.told_occurrences, mine.told_at;
    end loop;
end $$;
