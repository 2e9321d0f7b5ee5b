-- name: ensure_pipeline
-- An INSERT alone would wait for a daemon that stands still in a transaction.
INSERT INTO dbbridge.pipeline (name) SELECT %(pipeline)s
WHERE NOT EXISTS (SELECT 1 FROM dbbridge.pipeline WHERE name = %(pipeline)s) ON CONFLICT DO NOTHING

-- name: pipeline
SELECT epoch, position_kind, position, position_file, position_offset, source_id,
       extract(epoch FROM source_time)::float8, extract(epoch FROM applied_at)::float8
FROM dbbridge.pipeline WHERE name = %(pipeline)s

-- name: try_lock
SELECT pg_try_advisory_lock(hashtextextended('dbbridge:' || %(pipeline)s, 0))

-- name: lock_epoch
SELECT epoch FROM dbbridge.pipeline WHERE name = %(pipeline)s FOR UPDATE

-- name: raise_epoch
UPDATE dbbridge.pipeline SET epoch = epoch + 1 WHERE name = %(pipeline)s RETURNING epoch

-- name: set_daemon
INSERT INTO dbbridge.daemon (pipeline, epoch, host, boot, pid, backend)
VALUES (%(pipeline)s, %(epoch)s, %(host)s, %(boot)s, %(pid)s, pg_backend_pid())
ON CONFLICT (pipeline) DO UPDATE SET epoch = EXCLUDED.epoch, host = EXCLUDED.host,
    boot = EXCLUDED.boot, pid = EXCLUDED.pid, backend = EXCLUDED.backend,
    started_at = now(), renewed_at = now(), status = '{}'

-- name: daemon
SELECT epoch, host, boot, pid, backend, extract(epoch FROM now() - started_at)::float8,
       extract(epoch FROM now() - renewed_at)::float8, status
FROM dbbridge.daemon WHERE pipeline = %(pipeline)s

-- name: renew
UPDATE dbbridge.daemon SET renewed_at = now(), status = %(status)s
WHERE pipeline = %(pipeline)s AND epoch = %(epoch)s

-- name: release
DELETE FROM dbbridge.daemon WHERE pipeline = %(pipeline)s AND epoch = %(epoch)s

-- name: end_stale_sessions
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = %(application)s AND datname = current_database() AND pid <> pg_backend_pid()

-- name: hold_epoch
SELECT 1 FROM dbbridge.pipeline WHERE name = %(pipeline)s AND epoch = %(epoch)s FOR KEY SHARE

-- name: advance
UPDATE dbbridge.pipeline
SET position_kind = %(kind)s, position = %(text)s, position_file = %(file)s,
    position_offset = %(offset)s, source_id = %(source_id)s,
    source_time = COALESCE(to_timestamp(%(source_time)s), source_time), applied_at = clock_timestamp()
WHERE name = %(pipeline)s AND epoch = %(epoch)s

-- name: leave_position
UPDATE dbbridge.pipeline
SET position_kind = NULL, position = NULL, position_file = '', position_offset = 0
WHERE name = %(pipeline)s

-- name: recognise
UPDATE dbbridge.pipeline SET source_id = %(source_id)s WHERE name = %(pipeline)s

-- name: count_changes
UPDATE dbbridge.tables t
SET inserts = t.inserts + c.inserts, updates = t.updates + c.updates, deletes = t.deletes + c.deletes
FROM unnest(%(schemas)s::text[], %(tables)s::text[], %(generations)s::int[], %(inserts)s::bigint[],
            %(updates)s::bigint[], %(deletes)s::bigint[])
     AS c (source_schema, source_table, generation, inserts, updates, deletes)
WHERE t.pipeline = %(pipeline)s AND t.source_schema = c.source_schema
  AND t.source_table = c.source_table AND t.generation = c.generation

-- name: tables
SELECT source_schema, source_table, generation, target_schema, target_table, stage, paused,
       error_code, error, hint, frontier_kind, frontier, frontier_file, frontier_offset,
       until_file, until_offset, planned, indexed, mapping, version,
       rows_estimated, rows_copied, bytes_copied, inserts, updates, deletes, ddl, violations, marker,
       indexing,
       (SELECT count(*) FROM dbbridge.quarantine q
        WHERE (q.pipeline, q.source_schema, q.source_table, q.generation)
            = (t.pipeline, t.source_schema, t.source_table, t.generation))
FROM dbbridge.tables t WHERE pipeline = %(pipeline)s
ORDER BY source_schema, source_table, generation

-- name: add_table
INSERT INTO dbbridge.tables (pipeline, source_schema, source_table, generation, target_schema,
                             target_table, mapping, version, rows_estimated)
VALUES (%(pipeline)s, %(schema)s, %(table)s, %(generation)s, %(target_schema)s, %(target_table)s,
        %(mapping)s, %(version)s, %(rows)s)
ON CONFLICT DO NOTHING

-- name: drop_table
DELETE FROM dbbridge.tables
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND generation = %(generation)s

-- name: begin_copy
UPDATE dbbridge.tables
SET stage = 'copying', frontier_kind = %(kind)s, frontier = %(text)s, frontier_file = %(file)s,
    frontier_offset = %(offset)s, planned = false, indexed = false, indexing = false,
    until_file = NULL, until_offset = NULL, rows_copied = 0, bytes_copied = 0, rows_estimated = %(rows)s,
    error_code = NULL, error = NULL, hint = NULL, changed_at = now()
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND generation = %(generation)s

-- name: clear_chunks
DELETE FROM dbbridge.chunks
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND generation = %(generation)s

-- name: clear_quarantine
DELETE FROM dbbridge.quarantine
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND generation = %(generation)s

-- name: add_chunk
INSERT INTO dbbridge.chunks (pipeline, source_schema, source_table, generation, number, lower, upper)
VALUES (%(pipeline)s, %(schema)s, %(table)s, %(generation)s, %(number)s, %(lower)s, %(upper)s)

-- name: chunks
SELECT number, lower, upper, done FROM dbbridge.chunks
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND generation = %(generation)s ORDER BY number

-- name: take_chunk
SELECT lower, upper FROM dbbridge.chunks
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND generation = %(generation)s AND number = %(number)s AND NOT done
FOR NO KEY UPDATE SKIP LOCKED

-- name: planned
UPDATE dbbridge.tables SET planned = true
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND generation = %(generation)s

-- name: chunk_done
UPDATE dbbridge.chunks SET done = true, seen = %(seen)s
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND generation = %(generation)s AND number = %(number)s AND NOT done

-- name: seen
-- Of tables that have not joined the main stream since they were copied.
SELECT DISTINCT source_schema, source_table, generation, seen
FROM dbbridge.chunks c JOIN dbbridge.tables t
USING (pipeline, source_schema, source_table, generation)
WHERE pipeline = %(pipeline)s AND seen <> ''
  AND (stage = 'copying' OR (stage = 'catching-up' AND until_file IS NOT NULL))

-- name: done_chunks
SELECT number FROM dbbridge.chunks
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND generation = %(generation)s AND number = ANY(%(numbers)s) AND done

-- name: copied_more
UPDATE dbbridge.tables SET rows_copied = rows_copied + %(rows)s, bytes_copied = bytes_copied + %(bytes)s
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND generation = %(generation)s

-- name: copied
UPDATE dbbridge.tables
SET stage = 'catching-up', until_file = %(until_file)s, until_offset = %(until_offset)s,
    changed_at = now()
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND generation = %(generation)s

-- name: copied_so_far
SELECT rows_copied, bytes_copied FROM dbbridge.tables
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND generation = %(generation)s

-- name: copying_table
SELECT target_schema, target_table, mapping, version FROM dbbridge.tables
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND generation = %(generation)s AND stage = 'copying' AND NOT paused AND error_code IS NULL
FOR KEY SHARE

-- name: add_errand
INSERT INTO dbbridge.errands (pipeline, epoch, source_schema, source_table, generation, number)
VALUES (%(pipeline)s, %(epoch)s, %(schema)s, %(table)s, %(generation)s, %(number)s)
ON CONFLICT (pipeline, source_schema, source_table, generation, number) DO UPDATE
SET epoch = EXCLUDED.epoch, tries = 0, error = '', stop = NULL

-- name: drop_free_errands
DELETE FROM dbbridge.errands
WHERE pipeline = %(pipeline)s
  AND (worker = '' OR NOT dbbridge.session_lives(session_pid, session_began))

-- name: drop_free_errands_of
DELETE FROM dbbridge.errands
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND generation = %(generation)s
  AND (worker = '' OR NOT dbbridge.session_lives(session_pid, session_began))

-- name: drop_errands
DELETE FROM dbbridge.errands
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND generation = %(generation)s AND number = ANY(%(numbers)s)

-- name: errands
SELECT source_schema, source_table, generation, number, tries, error, stop,
       CASE WHEN worker <> '' AND dbbridge.session_lives(session_pid, session_began)
            THEN worker ELSE '' END
FROM dbbridge.errands WHERE pipeline = %(pipeline)s ORDER BY id

-- name: claim_errand
UPDATE dbbridge.errands
SET worker = %(worker)s, session_pid = %(pid)s, beat_at = now(), tries = tries + 1,
    session_began = (SELECT backend_start FROM pg_stat_activity WHERE pid = %(pid)s)
WHERE id = (
    SELECT e.id FROM dbbridge.errands e JOIN dbbridge.daemon d USING (pipeline, epoch)
    WHERE e.pipeline = %(pipeline)s AND e.epoch = %(epoch)s AND e.stop IS NULL
      AND e.tries < %(most)s AND d.renewed_at > now() - make_interval(secs => %(stale)s)
      AND (e.worker = '' OR NOT dbbridge.session_lives(e.session_pid, e.session_began))
    ORDER BY e.tries, e.id LIMIT 1 FOR UPDATE OF e SKIP LOCKED)
RETURNING id, source_schema, source_table, generation, number

-- name: beat_errand
UPDATE dbbridge.errands SET beat_at = now() WHERE id = %(id)s AND session_pid = %(pid)s

-- name: leave_errand
UPDATE dbbridge.errands
SET worker = '', error = COALESCE(%(error)s, error), stop = %(stop)s,
    tries = tries - CASE WHEN %(error)s::text IS NULL THEN 1 ELSE 0 END
WHERE id = %(id)s AND session_pid = %(pid)s

-- name: finish_errand
DELETE FROM dbbridge.errands WHERE id = %(id)s

-- name: end_silent_readers
SELECT pg_terminate_backend(session_pid) FROM dbbridge.errands
WHERE pipeline = %(pipeline)s AND worker <> ''
  AND beat_at < now() - make_interval(secs => %(stale)s)
  AND dbbridge.session_lives(session_pid, session_began)

-- name: exact_frontier
WITH based AS (
    UPDATE dbbridge.partitions
    SET base_kind = %(kind)s, base = %(text)s, base_file = %(file)s, base_offset = %(offset)s
    WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
      AND generation = %(generation)s
)
UPDATE dbbridge.tables
SET frontier_kind = %(kind)s, frontier = %(text)s, frontier_file = %(file)s,
    frontier_offset = %(offset)s
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND generation = %(generation)s

-- name: advance_tables
UPDATE dbbridge.tables t
SET frontier_kind = %(kind)s, frontier = %(text)s, frontier_file = %(file)s,
    frontier_offset = %(offset)s
FROM unnest(%(schemas)s::text[], %(tables)s::text[], %(generations)s::int[])
     AS c (source_schema, source_table, generation)
WHERE t.pipeline = %(pipeline)s AND t.source_schema = c.source_schema
  AND t.source_table = c.source_table AND t.generation = c.generation

-- name: forget_coordinates
UPDATE dbbridge.tables SET frontier_file = '', frontier_offset = 0, until_file = CASE
       WHEN until_file IS NULL THEN NULL ELSE '' END
WHERE pipeline = %(pipeline)s AND frontier_kind <> 'file'

-- name: forget_position_coordinates
UPDATE dbbridge.pipeline SET position_file = '', position_offset = 0
WHERE name = %(pipeline)s AND position_kind <> 'file'

-- name: indexing
UPDATE dbbridge.tables SET indexing = true
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND generation = %(generation)s

-- name: indexed
UPDATE dbbridge.tables SET indexed = true, indexing = false
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND generation = %(generation)s

-- name: join_stream
UPDATE dbbridge.tables
SET stage = 'streaming', frontier_kind = NULL, frontier = NULL, frontier_file = '',
    frontier_offset = 0, until_file = NULL, until_offset = NULL, changed_at = now()
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND generation = %(generation)s AND NOT paused AND error_code IS NULL

-- name: leave_stream
UPDATE dbbridge.tables t
SET stage = CASE WHEN t.stage = 'streaming' THEN 'catching-up' ELSE t.stage END,
    paused = t.paused OR %(paused)s,
    error_code = CASE WHEN t.error_code = ANY(%(kept)s) THEN t.error_code
        ELSE COALESCE(%(code)s, t.error_code) END,
    error = CASE WHEN t.error_code = ANY(%(kept)s) THEN t.error
        ELSE COALESCE(%(message)s, t.error) END,
    hint = CASE WHEN t.error_code = ANY(%(kept)s) THEN t.hint
        ELSE COALESCE(%(hint)s, t.hint) END,
    ddl = t.ddl + %(ddl)s,
    frontier_kind = COALESCE(t.frontier_kind, p.position_kind),
    frontier = COALESCE(t.frontier, p.position),
    frontier_file = CASE WHEN t.frontier IS NULL THEN p.position_file ELSE t.frontier_file END,
    frontier_offset = CASE WHEN t.frontier IS NULL THEN p.position_offset ELSE t.frontier_offset END,
    changed_at = now()
FROM dbbridge.pipeline p
WHERE p.name = %(pipeline)s AND t.pipeline = %(pipeline)s AND t.source_schema = %(schema)s
  AND t.source_table = %(table)s AND t.generation = %(generation)s

-- name: unpause
UPDATE dbbridge.tables
SET paused = false, error_code = NULL, error = NULL, hint = NULL, changed_at = now()
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND (error_code = ANY(%(gaps)s)) IS NOT TRUE

-- name: users_of
SELECT a.pid, a.application_name, a.state
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.relation = to_regclass(%(relation)s) AND l.granted AND l.pid <> pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
GROUP BY a.pid, a.application_name, a.state ORDER BY a.pid LIMIT 5

-- name: rename_generation
UPDATE dbbridge.tables SET target_table = %(target_table)s
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND generation = %(generation)s

-- name: quarantine_add
INSERT INTO dbbridge.quarantine (pipeline, source_schema, source_table, generation, key, code,
                                 column_name, value, raw, met_at)
VALUES (%(pipeline)s, %(schema)s, %(table)s, %(generation)s, %(key)s, %(code)s, %(column)s,
        %(value)s, %(raw)s, %(at)s)
ON CONFLICT ON CONSTRAINT one_entry_a_key DO UPDATE SET code = EXCLUDED.code,
    column_name = EXCLUDED.column_name, value = EXCLUDED.value, raw = EXCLUDED.raw,
    met_at = EXCLUDED.met_at, since = now()

-- name: quarantine_remove
DELETE FROM dbbridge.quarantine
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND generation = %(generation)s AND key = ANY(%(keys)s)

-- name: quarantine_count
SELECT count(*) FROM dbbridge.quarantine
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND generation = %(generation)s

-- name: quarantine_list
SELECT q.id, q.source_schema, q.source_table, q.key, q.code, q.column_name, q.value, q.raw, q.met_at,
       extract(epoch FROM q.since)::float8
FROM dbbridge.quarantine q
WHERE q.pipeline = %(pipeline)s AND (%(id)s::bigint IS NULL OR q.id = %(id)s)
ORDER BY q.id

-- name: quarantine_of
SELECT id, value FROM dbbridge.quarantine
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND generation = %(generation)s AND key = %(key)s

-- name: quarantine_discard
WITH gone AS (
    DELETE FROM dbbridge.quarantine WHERE pipeline = %(pipeline)s AND id = %(id)s RETURNING *
)
INSERT INTO dbbridge.discards (id, pipeline, source_schema, source_table, key, code, column_name,
                               value, raw, met_at, reason)
SELECT id, pipeline, source_schema, source_table, key, code, column_name, value, raw, met_at, %(reason)s
FROM gone

-- name: add_event
INSERT INTO dbbridge.events (pipeline, kind, subject, message)
VALUES (%(pipeline)s, %(kind)s, %(subject)s, %(message)s)

-- name: add_request
INSERT INTO dbbridge.requests (pipeline, verb, source_schema, source_table, argument)
VALUES (%(pipeline)s, %(verb)s, %(schema)s, %(table)s, %(argument)s) RETURNING id

-- name: open_requests
SELECT id, verb, source_schema, source_table, argument FROM dbbridge.requests
WHERE pipeline = %(pipeline)s AND done_at IS NULL ORDER BY id

-- name: answer_request
UPDATE dbbridge.requests SET done_at = now(), result = %(result)s WHERE id = %(id)s

-- name: request_result
SELECT done_at IS NOT NULL, result FROM dbbridge.requests WHERE id = %(id)s

-- name: overrides
SELECT name, value, extract(epoch FROM until)::float8 FROM dbbridge.overrides
WHERE pipeline = %(pipeline)s AND (until IS NULL OR until > clock_timestamp()) ORDER BY name

-- name: set_override
INSERT INTO dbbridge.overrides (pipeline, name, value, until)
VALUES (%(pipeline)s, %(name)s, %(value)s,
        clock_timestamp() + make_interval(secs => %(seconds)s::float8))
ON CONFLICT (pipeline, name) DO UPDATE
SET value = EXCLUDED.value, until = EXCLUDED.until, set_at = now(), set_by = current_user

-- name: unset_override
DELETE FROM dbbridge.overrides WHERE pipeline = %(pipeline)s AND name = %(name)s

-- name: verified_to
SELECT source_schema, source_table, position,
       extract(epoch FROM clock_timestamp() - updated_at)::float8
FROM dbbridge.proofs p
WHERE pipeline = %(pipeline)s AND swept AND obstacle = '' AND open = '[]'
  AND NOT EXISTS (SELECT FROM dbbridge.differences d
                  WHERE d.pipeline = p.pipeline AND d.source_schema = p.source_schema
                    AND d.source_table = p.source_table)

-- name: proofs_given_up
SELECT source_schema, source_table FROM dbbridge.proofs
WHERE pipeline = %(pipeline)s AND obstacle <> ''

-- name: throttled_verification
SELECT throttled FROM dbbridge.verifications
WHERE pipeline = %(pipeline)s AND finished_at IS NULL ORDER BY id DESC LIMIT 1

-- name: claim_ops
INSERT INTO dbbridge.applied_ops (op_id, pipeline, seq, confirmed)
SELECT op_id, %(pipeline)s, seq, true
FROM unnest(%(ids)s::uuid[], %(numbers)s::bigint[]) AS o (op_id, seq) ORDER BY op_id
ON CONFLICT (op_id) DO UPDATE SET confirmed = true, applied_at = now()

-- name: key_of_index
SELECT pg_get_indexdef(i.indexrelid, n, true)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid, generate_series(1, i.indnkeyatts) AS n
WHERE i.indrelid = %(relation)s::regclass AND c.relname = %(index)s AND i.indisunique ORDER BY n

-- name: prunable_ops
SELECT max(seq) FROM dbbridge.applied_ops
WHERE pipeline = %(pipeline)s AND confirmed
  AND applied_at < now() - make_interval(secs => %(seconds)s)
  AND NOT EXISTS (SELECT FROM dbbridge.tables t
                  WHERE t.pipeline = %(pipeline)s AND t.frontier_kind IS NOT NULL)

-- name: authority_groups
SELECT grp FROM dbbridge.authority WHERE pipeline = %(pipeline)s ORDER BY grp

-- name: lock_authority
SELECT pg_advisory_xact_lock(hashtextextended('dbbridge:authority:' || %(pipeline)s || ':' || %(group)s, 0))

-- name: forget_ops
UPDATE dbbridge.ops SET pruned = %(number)s WHERE pipeline = %(pipeline)s AND pruned < %(number)s

-- name: drop_ops
DELETE FROM dbbridge.applied_ops WHERE pipeline = %(pipeline)s AND seq <= %(number)s AND confirmed

-- name: groups
SELECT grp, authority, mode, epoch, reads_percent FROM dbbridge.authority
WHERE pipeline = %(pipeline)s ORDER BY grp

-- name: cutover_groups
SELECT c.grp, c.state, w.status, w.slot,
       CASE WHEN w.slot IS NOT NULL THEN coalesce(s.wal_status, 'lost') END
FROM dbbridge.cutovers c
LEFT JOIN dbbridge.way_back w USING (pipeline, grp)
LEFT JOIN pg_replication_slots s ON s.slot_name = w.slot
WHERE c.pipeline = %(pipeline)s

-- name: unconfirmed
SELECT count(*) FROM dbbridge.applied_ops WHERE pipeline = %(pipeline)s AND NOT confirmed

-- name: any_early
SELECT FROM dbbridge.applied_ops WHERE pipeline = %(pipeline)s AND writer IS NOT NULL LIMIT 1

-- name: hand_over
UPDATE dbbridge.tables t SET stage = %(stage)s, marker = %(marker)s, changed_at = now(),
    violations = CASE WHEN t.stage = 'streaming' AND %(stage)s = 'switched' THEN 0 ELSE t.violations END
FROM unnest(%(schemas)s::text[], %(tables)s::text[]) AS named (source_schema, source_table)
WHERE t.pipeline = %(pipeline)s
  AND (t.source_schema, t.source_table) = (named.source_schema, named.source_table)
  AND t.stage IN ('streaming', 'switched') AND NOT t.paused AND t.error_code IS NULL

-- name: violate
UPDATE dbbridge.tables SET violations = violations + %(n)s
WHERE (pipeline, source_schema, source_table) = (%(pipeline)s, %(schema)s, %(table)s)
RETURNING violations
