-- name: add
INSERT INTO dbbridge.way_back (pipeline, grp, slot) VALUES (%(pipeline)s, %(group)s, %(slot)s)
ON CONFLICT (pipeline, grp) DO UPDATE SET slot = EXCLUDED.slot

-- name: remove
DELETE FROM dbbridge.way_back WHERE pipeline = %(pipeline)s AND grp = %(group)s

-- name: begin
WITH begun AS (
    UPDATE dbbridge.way_back SET epoch = %(epoch)s, start = pg_current_wal_insert_lsn(), status = '{}'
    WHERE pipeline = %(pipeline)s AND grp = %(group)s AND epoch < %(epoch)s RETURNING pipeline, grp
)
DELETE FROM dbbridge.reverse_unrepresentable u USING begun WHERE (u.pipeline, u.grp) = (begun.pipeline, begun.grp)

-- name: resume
UPDATE dbbridge.way_back SET epoch = %(epoch)s, status = '{}',
    start = greatest(start, '0/0'::pg_lsn + %(lsn)s::numeric)
WHERE pipeline = %(pipeline)s AND grp = %(group)s AND epoch < %(epoch)s

-- name: course
SELECT epoch, start - '0/0'::pg_lsn FROM dbbridge.way_back
WHERE pipeline = %(pipeline)s AND grp = %(group)s

-- name: courses
SELECT w.grp, w.epoch, w.start - '0/0'::pg_lsn
FROM dbbridge.way_back w JOIN dbbridge.cutovers c USING (pipeline, grp)
WHERE w.pipeline = %(pipeline)s AND c.state = ANY (%(states)s) AND w.start IS NOT NULL

-- name: tell
UPDATE dbbridge.way_back
SET status = %(status)s || jsonb_build_object('told_at', clock_timestamp())
WHERE pipeline = %(pipeline)s AND grp = %(group)s AND epoch = %(epoch)s

-- name: begun
UPDATE dbbridge.way_back SET status = status || '{"lag_seconds": null}'
WHERE pipeline = %(pipeline)s AND grp = %(group)s AND epoch = %(epoch)s AND status ? 'lag_seconds'

-- name: told
SELECT slot, status || CASE WHEN status ? 'told_at' THEN jsonb_build_object('age_seconds',
    extract(epoch FROM clock_timestamp() - (status ->> 'told_at')::timestamptz)) ELSE '{}' END
FROM dbbridge.way_back WHERE pipeline = %(pipeline)s AND grp = %(group)s

-- name: here
SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn

-- name: idle_slots
SELECT w.slot FROM dbbridge.way_back w JOIN dbbridge.cutovers c USING (pipeline, grp)
WHERE w.pipeline = %(pipeline)s AND c.state = 'armed'
