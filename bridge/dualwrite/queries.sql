-- name: authorities
SELECT grp, epoch, authority, mode, reads_percent FROM dbbridge.authority_now
WHERE pipeline = %(pipeline)s ORDER BY grp

-- name: ensure_ops
INSERT INTO dbbridge.ops (pipeline) VALUES (%(pipeline)s) ON CONFLICT DO NOTHING

-- name: lock_group
SELECT pg_advisory_xact_lock(hashtextextended('dbbridge:authority:' || %(pipeline)s || ':' || %(group)s, 0))

-- name: set_authority
INSERT INTO dbbridge.authority (pipeline, grp, epoch, authority, mode, reads_percent)
VALUES (%(pipeline)s, %(group)s, %(epoch)s, %(authority)s, %(mode)s, %(reads_percent)s)
ON CONFLICT (pipeline, grp) DO UPDATE SET epoch = EXCLUDED.epoch, authority = EXCLUDED.authority,
    mode = EXCLUDED.mode, reads_percent = EXCLUDED.reads_percent, changed_at = now(),
    changed_by = current_user

-- name: claim
SELECT dbbridge.claim(%(pipeline)s, %(groups)s, %(epochs)s, %(op)s, %(number)s, %(schemas)s, %(tables)s)

-- name: hold
SELECT dbbridge.hold(%(pipeline)s, %(group)s, %(epoch)s)
