-- name: partitions
SELECT topic, partition, generation, source_schema, source_table, topic_id, next_offset, epoch, holder,
       session_pid, session_began, base_kind, base, base_file, base_offset, past, snapshot,
       extract(epoch FROM source_time)::float8
FROM dbbridge.partitions WHERE pipeline = %(pipeline)s ORDER BY topic, partition, generation

-- name: add_partition
-- The first epoch is one that no row of an earlier copy had, whose consumer may yet wake up.
INSERT INTO dbbridge.partitions (pipeline, topic, partition, generation, source_schema, source_table,
                                 topic_id, next_offset, base_kind, base, base_file, base_offset, past,
                                 snapshot, epoch)
VALUES (%(pipeline)s, %(topic)s, %(partition)s, %(generation)s, %(schema)s, %(table)s, %(topic_id)s,
        %(offset)s, %(kind)s, %(text)s, %(file)s, %(file_offset)s, %(past)s, %(snapshot)s,
        (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
ON CONFLICT (pipeline, topic, partition, generation) DO UPDATE
SET topic_id = EXCLUDED.topic_id, next_offset = EXCLUDED.next_offset, base_kind = EXCLUDED.base_kind,
    base = EXCLUDED.base, base_file = EXCLUDED.base_file, base_offset = EXCLUDED.base_offset,
    past = EXCLUDED.past, snapshot = EXCLUDED.snapshot, epoch = partitions.epoch + 1, holder = ''

-- name: take_partition
UPDATE dbbridge.partitions
SET epoch = epoch + 1, holder = %(holder)s
WHERE pipeline = %(pipeline)s AND topic = %(topic)s AND partition = %(partition)s
  AND generation = %(generation)s
RETURNING epoch, next_offset, past, snapshot

-- name: sign_partitions
UPDATE dbbridge.partitions p
SET session_pid = pg_backend_pid(),
    session_began = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())
WHERE pipeline = %(pipeline)s AND holder = %(holder)s

-- name: end_holder
SELECT pg_terminate_backend(session_pid) FROM dbbridge.partitions
WHERE pipeline = %(pipeline)s AND topic = %(topic)s AND partition = %(partition)s
  AND generation = %(generation)s AND session_pid <> pg_backend_pid()
  AND dbbridge.session_lives(session_pid, session_began)

-- name: lock_partitions
SELECT p.epoch = w.epoch AND p.next_offset = w.start
FROM dbbridge.partitions p
JOIN unnest(%(topics)s::text[], %(numbers)s::int[], %(generations)s::int[], %(epochs)s::bigint[],
            %(starts)s::bigint[]) AS w (topic, partition, generation, epoch, start)
  ON p.pipeline = %(pipeline)s AND p.topic = w.topic AND p.partition = w.partition
 AND p.generation = w.generation
ORDER BY p.topic, p.partition FOR NO KEY UPDATE OF p

-- name: move_partitions
UPDATE dbbridge.partitions p
SET next_offset = w.finish, past = w.past, snapshot = w.snapshot, applied_at = clock_timestamp(),
    source_time = COALESCE(to_timestamp(%(source_time)s), p.source_time)
FROM unnest(%(topics)s::text[], %(numbers)s::int[], %(generations)s::int[], %(epochs)s::bigint[],
            %(starts)s::bigint[], %(ends)s::bigint[], %(pasts)s::bool[], %(snapshots)s::text[])
     AS w (topic, partition, generation, epoch, start, finish, past, snapshot)
WHERE p.pipeline = %(pipeline)s AND p.topic = w.topic AND p.partition = w.partition
  AND p.generation = w.generation AND p.epoch = w.epoch AND p.next_offset = w.start

-- name: unique_indexes
SELECT EXISTS (SELECT FROM pg_index
               WHERE indrelid = to_regclass(%(relation)s) AND indisunique AND NOT indisprimary)

-- name: fence_table
-- In the order of lock_partitions: in another one both would wait for each other.
WITH held AS MATERIALIZED (
    SELECT topic, partition, generation FROM dbbridge.partitions
    WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
    ORDER BY topic, partition, generation FOR NO KEY UPDATE
)
UPDATE dbbridge.partitions p SET epoch = p.epoch + 1, holder = ''
FROM held
WHERE p.pipeline = %(pipeline)s
  AND (p.topic, p.partition, p.generation) = (held.topic, held.partition, held.generation)

-- name: free_partitions
UPDATE dbbridge.partitions SET holder = ''
WHERE pipeline = %(pipeline)s AND holder = %(holder)s

-- name: try_slot
SELECT pg_try_advisory_lock(hashtextextended('dbbridge:' || %(pipeline)s || ':' || %(slot)s, 1))

-- name: noticed
SELECT topic_id, next_offset, snapshot FROM dbbridge.notices WHERE pipeline = %(pipeline)s AND topic = %(topic)s

-- name: notice
INSERT INTO dbbridge.notices (pipeline, topic, topic_id, next_offset, snapshot)
VALUES (%(pipeline)s, %(topic)s, %(topic_id)s, %(offset)s, %(snapshot)s)
ON CONFLICT (pipeline) DO UPDATE
SET topic = EXCLUDED.topic, topic_id = EXCLUDED.topic_id, next_offset = EXCLUDED.next_offset,
    snapshot = EXCLUDED.snapshot

-- name: forget_notices
DELETE FROM dbbridge.notices WHERE pipeline = %(pipeline)s

-- name: drop_partition
DELETE FROM dbbridge.partitions
WHERE pipeline = %(pipeline)s AND topic = %(topic)s AND partition = %(partition)s
  AND generation = %(generation)s
