-- The lease that a task had on a lock, by the label under which it took it.
select distinct token, owner from lockprovider.lease_event
where lock_name = %(lock_name)s and owner = %(owner)s and event in ('granted', 'confirmed')
