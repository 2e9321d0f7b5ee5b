-- name: beat
WITH forgotten AS (
    DELETE FROM dbbridge.instances
    WHERE pipeline = %(pipeline)s AND seen_at < now() - interval '1 day'
)
INSERT INTO dbbridge.instances (pipeline, instance, host, pid, kind, epochs)
SELECT %(pipeline)s, %(instance)s, %(host)s, %(pid)s, %(kind)s, %(epochs)s
WHERE EXISTS (SELECT FROM dbbridge.pipeline WHERE name = %(pipeline)s)
ON CONFLICT (pipeline, instance) DO UPDATE SET epochs = EXCLUDED.epochs, seen_at = now()

-- name: leave
DELETE FROM dbbridge.instances WHERE pipeline = %(pipeline)s AND instance = %(instance)s
