-- Work that must be done once: its success is recorded under a key, by the token that did it.

-- Record that the work of this key is done. Only the living owner may: the lease's row is kept until the record is
-- committed, so nobody else is let in between. The same token saying it again changes nothing.
create function :"schema".mark_done(lock_name text, token bigint, owner_id text, once_key text)
returns setof :"schema".done
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s' as $$
declare
    mine :"schema".lease;
    there :"schema".done;
begin
    perform :"schema"._precheck();
    if coalesce(btrim(once_key), '') = '' or length(once_key) > 500 then
        raise exception 'once key "%" must have 1 to 500 characters', left(once_key, 40) using errcode = 'LP001';
    end if;
    perform :"schema".still_held(mark_done.lock_name, mark_done.token);
    select * into mine from :"schema".lease l
    where l.lock_name = mark_done.lock_name and l.token = mark_done.token and l.owner_id = mark_done.owner_id;
    if not found then
        raise exception 'lease on "%" with token % belongs to somebody else', mark_done.lock_name, mark_done.token
            using errcode = 'LP409', hint = 'only its owner can say that its work is done';
    end if;
    if mine.shared or mine.units * 2 <= (select k.capacity from :"schema".lock k where k.lock_name = mark_done.lock_name) then
        raise exception 'lock "%" lets several owners work at once, so none of them can promise to be the only one',
            mark_done.lock_name
            using errcode = 'LP001', hint = 'take an exclusive lease of more than half of the capacity';
    end if;

    insert into :"schema".done (lock_name, once_key, token, owner_id, owner)
    values (mine.lock_name, mark_done.once_key, mine.token, mine.owner_id, mine.owner)
    on conflict do nothing
    returning * into there;
    if found then
        perform :"schema"._log('done', mine, extract(epoch from clock_timestamp() - mine.created_at), null, mark_done.once_key);
        return next there;
    else
        return query select * from :"schema".done d
            where d.lock_name = mark_done.lock_name and d.once_key = mark_done.once_key;
    end if;
end $$;

-- Forget one key, so that its work may run again; or (name and key null) all that was done longer ago than older_than
-- seconds. Returns how many.
create function :"schema".forget_done(lock_name text, once_key text, older_than double precision default 0) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s' as $$
declare
    removed integer;
begin
    perform :"schema"._precheck();
    if once_key is not null and lock_name is null or once_key is null and not coalesce(older_than > 0, false) then
        raise exception 'forget_done needs a lock with a key, or an age' using errcode = 'LP001',
            hint = 'give lock_name and once_key, or older_than in seconds';
    end if;
    with gone as (
        delete from :"schema".done d
        where (forget_done.lock_name is null or d.lock_name = forget_done.lock_name)
          and (forget_done.once_key is null or d.once_key = forget_done.once_key)
          and d.done_at <= clock_timestamp() - make_interval(secs => coalesce(older_than, 0))
        returning d.*
    ), noted as (
        insert into :"schema".lease_event (lock_name, token, owner_id, owner, event, reason)
        select g.lock_name, g.token, g.owner_id, g.owner, 'forgotten', g.once_key
        from gone g where forget_done.once_key is not null
    )
    select count(*) into removed from gone;
    return removed;
end $$;
