-- name: looked
WITH looked AS (
    INSERT INTO dbbridge.census (pipeline, side, looks, unseen)
    VALUES (%(pipeline)s, %(side)s, 1, %(unseen)s)
    ON CONFLICT (pipeline, side) DO UPDATE
    SET looked_at = now(), looks = census.looks + 1, unseen = EXCLUDED.unseen
)
INSERT INTO dbbridge.writers (pipeline, side, account, host, program, statements)
SELECT %(pipeline)s, %(side)s, w.account, w.host, w.program, w.statements
FROM jsonb_to_recordset(%(writers)s) AS w (account text, host text, program text, statements bigint)
ON CONFLICT (pipeline, side, account, host, program) DO UPDATE
SET last_seen = now(), statements = writers.statements + EXCLUDED.statements

-- name: writing
-- A transaction that has written holds its id, and locks show to everybody (manual: pg_locks).
SELECT DISTINCT COALESCE(a.usename, ''), COALESCE(host(a.client_addr), ''),
       COALESCE(a.application_name, '')
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'transactionid' AND l.granted AND l.mode = 'ExclusiveLock'
  AND a.pid <> pg_backend_pid() AND a.datname = current_database() AND a.usesysid IS NOT NULL
  AND COALESCE(a.backend_type, 'client backend') = 'client backend'

-- name: has_statements
-- Without this right others' statements have no text, so that nobody seems to write.
SELECT to_regclass('pg_stat_statements') IS NOT NULL AND pg_has_role('pg_read_all_stats', 'USAGE')

-- name: statements
SELECT r.rolname, sum(s.calls)::bigint
FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid
WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND s.rows > 0 AND s.query ~* '^\s*(insert|update|delete|merge|copy)\M'
GROUP BY r.rolname
