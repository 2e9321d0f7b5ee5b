-- name: read
SELECT c.grp, c.state, c.attempt, c.operator, c.taken_at, c.plan, c.deadline, c.began_at,
       c.changed_at, c.evidence, c.error, c.scheduled_at, c.scheduled_by, c.scheduled_plan,
       (SELECT l.pid FROM pg_locks l
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND (l.classid::bigint << 32 | l.objid::bigint) = dbbridge.cutover_key(c.pipeline, c.grp))
FROM dbbridge.cutovers c
WHERE c.pipeline = %(pipeline)s AND (c.grp = %(group)s OR %(group)s::text IS NULL)
ORDER BY c.grp

-- name: states
SELECT grp, state FROM dbbridge.cutovers WHERE pipeline = %(pipeline)s ORDER BY grp

-- name: ensure
INSERT INTO dbbridge.cutovers (pipeline, grp) VALUES (%(pipeline)s, %(group)s)
ON CONFLICT DO NOTHING

-- name: lock
SELECT pg_advisory_lock(dbbridge.cutover_key(%(pipeline)s, %(group)s))

-- name: unlock
SELECT pg_advisory_unlock(dbbridge.cutover_key(%(pipeline)s, %(group)s))

-- name: evict
SELECT pg_terminate_backend(l.pid, %(milliseconds)s) FROM pg_locks l JOIN dbbridge.cutovers c
  ON (l.classid::bigint << 32 | l.objid::bigint) = dbbridge.cutover_key(c.pipeline, c.grp)
WHERE c.pipeline = %(pipeline)s AND c.grp = %(group)s AND c.attempt = %(attempt)s
  AND l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.pid <> pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())

-- name: door_holders
SELECT DISTINCT ON (l.pid) COALESCE(l.pid, 0), COALESCE(a.usename, ''),
       COALESCE(host(a.client_addr), 'local'), COALESCE(a.application_name, ''),
       CASE WHEN a.state = 'active' THEN a.query ELSE '' END,
       COALESCE(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::float8
FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.pid IS DISTINCT FROM pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.classid::bigint << 32 | l.objid::bigint)
    = hashtextextended('dbbridge:authority:' || %(pipeline)s || ':' || %(group)s, 0)
ORDER BY l.pid

-- name: durable
SELECT set_config('synchronous_commit', 'on', true)
WHERE current_setting('synchronous_commit') IN ('off', 'local')

-- name: take
UPDATE dbbridge.cutovers
SET attempt = attempt + 1, operator = %(operator)s, taken_at = clock_timestamp(),
    deadline = CASE WHEN NOT %(rests)s THEN clock_timestamp() + %(timeout)s * interval '1 second' END
WHERE pipeline = %(pipeline)s AND grp = %(group)s

-- name: guard
SELECT changed_at, evidence FROM dbbridge.cutovers
WHERE pipeline = %(pipeline)s AND grp = %(group)s
  AND state = %(before)s AND attempt = %(attempt)s
FOR UPDATE

-- name: hold_at_rest
SELECT state FROM dbbridge.cutovers WHERE pipeline = %(pipeline)s AND grp = %(group)s FOR SHARE

-- name: advance
UPDATE dbbridge.cutovers
SET state = %(after)s, changed_at = clock_timestamp(), error = NULL,
    plan = coalesce(%(plan)s, plan),
    began_at = CASE WHEN %(begins)s THEN clock_timestamp() ELSE began_at END,
    deadline = CASE WHEN %(rests)s THEN NULL
                    ELSE coalesce(clock_timestamp() + %(timeout)s * interval '1 second', deadline) END,
    scheduled_at = CASE WHEN %(waits)s THEN scheduled_at END
WHERE pipeline = %(pipeline)s AND grp = %(group)s

-- name: note
UPDATE dbbridge.cutovers SET evidence = %(evidence)s
WHERE pipeline = %(pipeline)s AND grp = %(group)s

-- name: fail
UPDATE dbbridge.cutovers SET error = %(error)s
WHERE pipeline = %(pipeline)s AND grp = %(group)s

-- name: add_step
INSERT INTO dbbridge.cutover_steps
       (pipeline, grp, attempt, operator, before, event, after, seconds, detail)
SELECT pipeline, grp, attempt, operator, %(before)s, %(event)s, state,
       extract(epoch FROM clock_timestamp() - coalesce(%(since)s, changed_at)), %(detail)s
FROM dbbridge.cutovers WHERE pipeline = %(pipeline)s AND grp = %(group)s

-- name: history
SELECT at, attempt, operator, before, event, after, seconds, detail
FROM dbbridge.cutover_steps WHERE pipeline = %(pipeline)s AND grp = %(group)s ORDER BY id

-- name: schedule
UPDATE dbbridge.cutovers
SET scheduled_at = %(at)s, scheduled_by = %(operator)s, scheduled_plan = %(plan)s
WHERE pipeline = %(pipeline)s AND grp = %(group)s AND state = %(before)s

-- name: unschedule
UPDATE dbbridge.cutovers SET scheduled_at = NULL
WHERE pipeline = %(pipeline)s AND grp = %(group)s AND scheduled_at IS NOT NULL
