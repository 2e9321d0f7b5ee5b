-- name: ensure_ops
INSERT INTO dbbridge.ops (pipeline) VALUES (%(pipeline)s) ON CONFLICT DO NOTHING

-- name: set_authority
INSERT INTO dbbridge.authority (pipeline, grp, epoch, authority, mode, reads_percent)
VALUES (%(pipeline)s, %(group)s, %(epoch)s, %(authority)s, %(mode)s, %(reads_percent)s)
ON CONFLICT (pipeline, grp) DO UPDATE SET epoch = EXCLUDED.epoch, authority = EXCLUDED.authority,
    mode = EXCLUDED.mode, reads_percent = EXCLUDED.reads_percent, changed_at = now(),
    changed_by = current_user

-- name: claim
SELECT dbbridge.claim(%(pipeline)s, %(groups)s, %(epochs)s, %(op)s, %(number)s, %(schemas)s, %(tables)s)

-- name: claim_all
SELECT dbbridge.claim_all(%(pipeline)s, %(groups)s, %(epochs)s, %(ops)s, %(numbers)s, %(schemas)s, %(tables)s)

-- name: hold
SELECT dbbridge.hold(%(pipeline)s, %(group)s, %(epoch)s)

-- name: readable
WITH wanted AS (
    SELECT * FROM unnest(%(schemas)s::text[], %(tables)s::text[]) AS w (source_schema, source_table)
)
SELECT NOT EXISTS (
           SELECT FROM wanted w WHERE NOT coalesce((
               SELECT t.stage = 'streaming' AND NOT t.paused AND t.error_code IS NULL
               FROM dbbridge.tables t
               WHERE t.pipeline = %(pipeline)s AND t.source_schema = w.source_schema
                 AND t.source_table = w.source_table
               ORDER BY t.generation DESC LIMIT 1
           ), false)
       ) AND NOT EXISTS (
           SELECT FROM dbbridge.quarantine q JOIN wanted USING (source_schema, source_table)
           WHERE q.pipeline = %(pipeline)s
       ) AND EXISTS (
           SELECT FROM dbbridge.daemon d
           WHERE d.pipeline = %(pipeline)s
             AND d.renewed_at > now() - make_interval(secs => %(silent)s)
             AND (d.status ->> 'lag_seconds')::float8 <= %(lag)s
       ),
       EXISTS (
           SELECT FROM dbbridge.ops o
           WHERE o.pipeline = %(pipeline)s AND o.pruned >= %(number)s
       ) OR EXISTS (SELECT FROM dbbridge.applied_ops a WHERE a.op_id = %(op)s)

-- name: moved_before
SELECT count(*) FROM dbbridge.authority
WHERE pipeline = %(pipeline)s AND grp = ANY(%(groups)s) AND authority = 'target'
  AND changed_at < now() - make_interval(secs => %(seconds)s)
