-- name: standing
SELECT t.generation, t.stage, t.paused, t.error_code, t.error,
       COALESCE(t.frontier_kind, p.position_kind), COALESCE(t.frontier, p.position),
       CASE WHEN t.frontier IS NULL THEN p.position_file ELSE t.frontier_file END,
       CASE WHEN t.frontier IS NULL THEN p.position_offset ELSE t.frontier_offset END,
       p.source_id, extract(epoch FROM now() - d.renewed_at)::float8,
       EXISTS (SELECT FROM dbbridge.partitions c WHERE c.pipeline = t.pipeline)
FROM dbbridge.tables t
JOIN dbbridge.pipeline p ON p.name = t.pipeline
LEFT JOIN dbbridge.daemon d ON d.pipeline = t.pipeline
WHERE t.pipeline = %(pipeline)s AND t.source_schema = %(schema)s AND t.source_table = %(table)s
ORDER BY t.generation LIMIT 1

-- name: quarantined
SELECT key, code, column_name FROM dbbridge.quarantine
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND generation = %(generation)s
ORDER BY id

-- name: discarded
SELECT key, code, reason FROM dbbridge.discards
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
ORDER BY discarded_at

-- name: begin_verification
INSERT INTO dbbridge.verifications (pipeline, level, certify, via, scheduled)
VALUES (%(pipeline)s, %(level)s, %(certify)s, %(via)s, %(scheduled)s) RETURNING id

-- name: last_verification
SELECT id, level, certify, via, scheduled, extract(epoch FROM now() - started_at)::float8
FROM dbbridge.verifications
WHERE pipeline = %(pipeline)s AND finished_at IS NULL ORDER BY id DESC LIMIT 1

-- name: unfinished_verification
SELECT id, level, certify, via, scheduled, extract(epoch FROM now() - started_at)::float8
FROM dbbridge.verifications
WHERE pipeline = %(pipeline)s AND id = %(id)s AND finished_at IS NULL

-- name: newest_verification
SELECT id, finished_at IS NULL,
       extract(epoch FROM now() - GREATEST(started_at,
           (SELECT max(beat_at) FROM dbbridge.verification_parts WHERE verification = v.id)))::float8
FROM dbbridge.verifications v WHERE pipeline = %(pipeline)s ORDER BY id DESC LIMIT 1

-- name: last_scheduled
SELECT extract(epoch FROM started_at)::float8 FROM dbbridge.verifications
WHERE pipeline = %(pipeline)s AND scheduled ORDER BY id DESC LIMIT 1

-- name: lock_alone
SELECT pg_try_advisory_lock(hashtextextended(%(name)s, 7220563184402))

-- name: unlock_alone
SELECT pg_advisory_unlock(hashtextextended(%(name)s, 7220563184402))

-- name: finish_verification
UPDATE dbbridge.verifications SET finished_at = now(), verdict = %(verdict)s
WHERE id = %(id)s

-- name: forget_verifications
DELETE FROM dbbridge.verifications v
WHERE v.pipeline = %(pipeline)s AND v.id < %(id)s AND v.started_at < now() - interval '30 days'

-- name: throttle_verification
UPDATE dbbridge.verifications SET throttled = %(reason)s
WHERE pipeline = %(pipeline)s AND id = %(id)s

-- name: add_part
INSERT INTO dbbridge.verification_parts (verification, source_schema, source_table, number, version,
                                         lower, upper)
VALUES (%(id)s, %(schema)s, %(table)s, %(number)s, %(version)s, %(lower)s, %(upper)s)

-- name: parts
SELECT source_schema, source_table, number, version, lower, upper, reached, rows, total, suspects,
       found, seconds, done, worker, extract(epoch FROM now() - beat_at)::float8
FROM dbbridge.verification_parts
WHERE verification = %(id)s
  AND (%(schema)s::text IS NULL OR (source_schema, source_table, number)
       = (%(schema)s::text, %(table)s::text, %(number)s::integer))
ORDER BY source_schema, source_table, number

-- name: claim_part
UPDATE dbbridge.verification_parts
SET claim = claim + 1, worker = %(worker)s, beat_at = now(), tries = tries + 1,
    session_pid = pg_backend_pid(),
    session_began = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())
WHERE verification = %(id)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND number = %(number)s AND NOT done
  AND (worker = '' OR session_pid = pg_backend_pid()
       OR beat_at < now() - make_interval(secs => %(stale)s)
       OR NOT dbbridge.session_lives(session_pid, session_began))
RETURNING claim

-- name: beat_part
UPDATE dbbridge.verification_parts SET beat_at = now()
WHERE verification = %(id)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND number = %(number)s AND claim = %(claim)s

-- name: fail_part
UPDATE dbbridge.verification_parts SET tries = tries + 1, error = %(error)s
WHERE verification = %(id)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND number = %(number)s AND NOT done

-- name: forgive_parts
UPDATE dbbridge.verification_parts SET tries = 0, error = ''
WHERE verification = %(id)s AND NOT done

-- name: standing_parts
SELECT source_schema, source_table, number, rows, done, tries, error,
       CASE WHEN worker <> '' AND beat_at >= now() - make_interval(secs => %(stale)s)
                 AND dbbridge.session_lives(session_pid, session_began)
            THEN worker ELSE '' END
FROM dbbridge.verification_parts WHERE verification = %(id)s
ORDER BY source_schema, source_table, number

-- name: save_part
UPDATE dbbridge.verification_parts
SET reached = %(reached)s, rows = %(rows)s, total = %(total)s, suspects = %(suspects)s,
    found = %(found)s, seconds = %(seconds)s, done = %(done)s, beat_at = now(), tries = 0,
    error = '', worker = CASE WHEN %(done)s THEN '' ELSE worker END
WHERE verification = %(id)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND number = %(number)s AND claim = %(claim)s

-- name: release_part
UPDATE dbbridge.verification_parts SET worker = '', beat_at = NULL, tries = GREATEST(tries - 1, 0)
WHERE verification = %(id)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND number = %(number)s AND claim = %(claim)s

-- name: begin_proof
INSERT INTO dbbridge.proofs (pipeline, source_schema, source_table, verification, level, generation,
                             version, fingerprint, position_kind, position, position_file,
                             position_offset, changes)
VALUES (%(pipeline)s, %(schema)s, %(table)s, %(id)s, %(level)s, %(generation)s, %(version)s,
        %(fingerprint)s, %(kind)s, %(text)s, %(file)s, %(offset)s,
        COALESCE((SELECT sum(t.inserts + t.updates + t.deletes) FROM dbbridge.tables t
                  WHERE t.pipeline = %(pipeline)s AND t.source_schema = %(schema)s
                    AND t.source_table = %(table)s), 0))
ON CONFLICT (pipeline, source_schema, source_table) DO UPDATE
SET verification = EXCLUDED.verification, level = EXCLUDED.level, generation = EXCLUDED.generation,
    version = EXCLUDED.version, fingerprint = EXCLUDED.fingerprint,
    position_kind = EXCLUDED.position_kind, position = EXCLUDED.position,
    position_file = EXCLUDED.position_file, position_offset = EXCLUDED.position_offset,
    swept = false, rows = 0, total = 0, rechecked = 0, open = '[]', equivalences = '[]',
    log_server = '', obstacle = '', changes = EXCLUDED.changes, updated_at = now()
WHERE proofs.verification < EXCLUDED.verification

-- name: swept_proof
UPDATE dbbridge.proofs
SET swept = true, rows = %(rows)s, total = %(total)s,
    -- Rounds beside the sweep left keys open whose changes nobody reads again.
    open = (SELECT COALESCE(jsonb_agg(DISTINCT key), '[]')
            FROM jsonb_array_elements(proofs.open || %(open)s) key),
    equivalences = %(equivalences)s,
    obstacle = CASE WHEN obstacle = '' THEN %(obstacle)s ELSE obstacle END, updated_at = now()
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND verification = %(id)s AND NOT swept

-- name: proofs
SELECT source_schema, source_table, verification, level, generation, version, fingerprint,
       position_kind, position, position_file, position_offset, swept, rows, total, rechecked, open,
       equivalences, obstacle,
       (SELECT count(*) FROM dbbridge.differences d
        WHERE (d.pipeline, d.source_schema, d.source_table)
            = (p.pipeline, p.source_schema, p.source_table)),
       extract(epoch FROM p.updated_at)::float8, p.log_server
FROM dbbridge.proofs p WHERE pipeline = %(pipeline)s ORDER BY source_schema, source_table

-- name: advance_proof
UPDATE dbbridge.proofs
SET position_kind = %(kind)s, position = %(text)s, position_file = %(file)s,
    position_offset = %(offset)s, log_server = %(log_server)s, rechecked = rechecked + %(rechecked)s, open = %(open)s,
    obstacle = CASE WHEN obstacle = '' THEN %(obstacle)s ELSE obstacle END, updated_at = now(),
    changes = %(changes)s,
    -- A few keys tell no rate: the one of the last larger round stays.
    round_keys = CASE WHEN %(rechecked)s >= GREATEST(1, LEAST(round_keys, 100))
                      THEN %(rechecked)s ELSE round_keys END,
    round_seconds = CASE WHEN %(rechecked)s >= GREATEST(1, LEAST(round_keys, 100))
                         THEN %(seconds)s ELSE round_seconds END
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND verification = %(id)s AND position = %(before)s AND swept = %(swept)s
  AND open = %(open_before)s

-- name: changes
SELECT source_schema, source_table, sum(inserts + updates + deletes)::bigint
FROM dbbridge.tables WHERE pipeline = %(pipeline)s GROUP BY source_schema, source_table

-- name: add_difference
INSERT INTO dbbridge.differences (pipeline, source_schema, source_table, key, kind, document,
                                  verification, part)
VALUES (%(pipeline)s, %(schema)s, %(table)s, %(key)s, %(kind)s, %(document)s, %(id)s, %(part)s)
ON CONFLICT (pipeline, source_schema, source_table, key) DO UPDATE
SET kind = EXCLUDED.kind, document = EXCLUDED.document, found_at = now(),
    -- An older run must not take from a newer one what that has found: it would be dropped with it.
    verification = GREATEST(differences.verification, EXCLUDED.verification),
    part = CASE WHEN EXCLUDED.verification >= differences.verification
                THEN EXCLUDED.part ELSE differences.part END

-- name: drop_differences
-- But for what was found while the keys were judged.
DELETE FROM dbbridge.differences
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND found_at < statement_timestamp() - make_interval(secs => %(seconds)s)
  AND key = ANY(SELECT ARRAY(SELECT jsonb_array_elements_text(k))
                FROM jsonb_array_elements(%(keys)s::jsonb) k)

-- name: drop_older_differences
DELETE FROM dbbridge.differences
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND verification < %(id)s
  -- What another run has found since may be true of rows that this one had read before.
  AND found_at < (SELECT started_at FROM dbbridge.verifications WHERE id = %(id)s)

-- name: differences_of_part
SELECT key, kind, document FROM dbbridge.differences
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND verification = %(id)s AND part = %(part)s
ORDER BY key LIMIT %(most)s

-- name: differences
SELECT key, kind, document FROM dbbridge.differences
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
ORDER BY key LIMIT %(most)s

-- name: add_certificate
INSERT INTO dbbridge.certificates (pipeline, group_name, position, document)
VALUES (%(pipeline)s, %(group)s, %(position)s, %(document)s) RETURNING id

-- name: newest_certificates
SELECT DISTINCT ON (group_name) group_name, id, extract(epoch FROM issued_at)::float8, position,
       document
FROM dbbridge.certificates WHERE pipeline = %(pipeline)s ORDER BY group_name, id DESC

-- name: repairable
SELECT key, kind, document, verification FROM dbbridge.differences
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND (%(extra)s::bool IS NULL OR (kind = 'extra') = %(extra)s)
  AND (%(after)s::text[] IS NULL OR key > %(after)s::text[])
ORDER BY key LIMIT %(most)s

-- name: drop_gone
DELETE FROM dbbridge.differences
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND found_at < %(before)s
  AND key = ANY(SELECT ARRAY(SELECT jsonb_array_elements_text(k))
                FROM jsonb_array_elements(%(keys)s::jsonb) k)

-- name: serving
SELECT generation, version FROM dbbridge.tables
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
ORDER BY generation LIMIT 1

-- name: quarantined_among
SELECT id, key FROM dbbridge.quarantine
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
  AND generation = %(generation)s AND key = ANY(%(keys)s)

-- name: unique_indexes
SELECT count(*) FROM pg_index
WHERE indrelid = to_regclass(%(relation)s) AND (indisunique OR indisexclusion)
