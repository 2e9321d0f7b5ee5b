-- name: unrepresentable
SELECT source_schema, source_table, key, lsn - '0/0'::pg_lsn, code, column_name, value, image::text, gone
FROM dbbridge.reverse_unrepresentable WHERE pipeline = %(pipeline)s AND grp = %(group)s AND superseded IS NULL
ORDER BY source_schema, source_table, digest, lsn

-- name: unheld
SELECT source_schema, source_table, key, column_name, code, count(*) OVER ()
FROM dbbridge.reverse_unrepresentable WHERE pipeline = %(pipeline)s AND grp = %(group)s
  AND lsn < '0/0'::pg_lsn + %(lsn)s::numeric
  AND (superseded IS NULL OR superseded >= '0/0'::pg_lsn + %(lsn)s::numeric)
ORDER BY lsn LIMIT 5

-- name: forget_uncommitted
DELETE FROM dbbridge.reverse_unrepresentable
WHERE pipeline = %(pipeline)s AND grp = %(group)s AND lsn >= '0/0'::pg_lsn + %(lsn)s::numeric

-- name: unmark_uncommitted
UPDATE dbbridge.reverse_unrepresentable SET superseded = NULL
WHERE pipeline = %(pipeline)s AND grp = %(group)s AND superseded >= '0/0'::pg_lsn + %(lsn)s::numeric

-- name: add_unrepresentable
INSERT INTO dbbridge.reverse_unrepresentable
    (pipeline, grp, source_schema, source_table, key, digest, lsn, code, column_name, value, image, gone)
VALUES (%(pipeline)s, %(group)s, %(schema)s, %(table)s, %(key)s, sha256(%(key)s),
    '0/0'::pg_lsn + %(lsn)s::numeric, %(code)s, %(column)s, %(value)s, %(image)s, %(gone)s)
ON CONFLICT (pipeline, grp, source_schema, source_table, digest, lsn) DO UPDATE SET
    code = EXCLUDED.code, column_name = EXCLUDED.column_name, value = EXCLUDED.value,
    image = EXCLUDED.image, gone = EXCLUDED.gone, superseded = NULL

-- name: mark_superseded
UPDATE dbbridge.reverse_unrepresentable SET superseded = '0/0'::pg_lsn + %(lsn)s::numeric
WHERE pipeline = %(pipeline)s AND grp = %(group)s AND (source_schema, source_table) = (%(schema)s, %(table)s)
  AND digest = sha256(%(key)s) AND lsn < '0/0'::pg_lsn + %(before)s::numeric AND superseded IS NULL

-- name: settle
DELETE FROM dbbridge.reverse_unrepresentable
WHERE pipeline = %(pipeline)s AND grp = %(group)s AND superseded < '0/0'::pg_lsn + %(lsn)s::numeric

-- name: slot
SELECT s.plugin, s.database, s.active_pid, s.wal_status, s.safe_wal_size,
    s.confirmed_flush_lsn - '0/0'::pg_lsn, pg_current_wal_lsn() - s.restart_lsn,
    pg_size_bytes(current_setting('max_slot_wal_keep_size'))
FROM pg_replication_slots s WHERE s.slot_name = %(slot)s

-- name: here
SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn

-- name: server
SELECT current_setting('wal_level'), current_setting('max_replication_slots')::int,
    (SELECT count(*) FROM pg_replication_slots), current_setting('max_wal_senders')::int,
    (SELECT count(*) FROM pg_stat_replication), r.rolreplication OR r.rolsuper,
    current_setting('max_slot_wal_keep_size'), current_user, current_database(),
    has_database_privilege(current_database(), 'CREATE'),
    pg_is_in_recovery()
FROM pg_roles r WHERE r.rolname = current_user

-- name: table
SELECT c.relreplident::text, pg_has_role(c.relowner, 'USAGE'), c.relpersistence::text, c.relkind::text,
    COALESCE((SELECT array_agg(a.attname::text) FROM pg_index i JOIN pg_attribute a
        ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
        WHERE i.indrelid = c.oid AND i.indisprimary), '{}'),
    (SELECT ic.relname::text FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid
        WHERE i.indrelid = c.oid AND i.indisreplident)
FROM pg_class c WHERE c.oid = to_regclass(%(name)s)

-- name: publication
SELECT p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate,
    COALESCE((SELECT array_agg(n.nspname || '.' || c.relname) FROM pg_publication_rel r
        JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE r.prpubid = p.oid), '{}')
FROM pg_publication p WHERE p.pubname = %(name)s

-- name: writers
SELECT a.pid, COALESCE(a.usename, ''), COALESCE(a.datname, ''), a.application_name,
    COALESCE(extract(epoch FROM now() - a.xact_start), 0)::float8
FROM pg_stat_activity a WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_backend_pid()
ORDER BY a.xact_start LIMIT 10

-- name: prepared
SELECT gid, owner::text, database::text, extract(epoch FROM now() - prepared)::float8
FROM pg_prepared_xacts ORDER BY prepared LIMIT 10

-- name: remember_identity
INSERT INTO dbbridge.reverse_identities (pipeline, grp, target_schema, target_table, identity)
VALUES (%(pipeline)s, %(group)s, %(schema)s, %(table)s, %(identity)s) ON CONFLICT DO NOTHING

-- name: identities
SELECT target_schema, target_table, identity FROM dbbridge.reverse_identities
WHERE pipeline = %(pipeline)s AND grp = %(group)s

-- name: forget_identities
DELETE FROM dbbridge.reverse_identities WHERE pipeline = %(pipeline)s AND grp = %(group)s

-- name: marker
SELECT pg_logical_emit_message(true, 'dbbridge', %(content)s) - '0/0'::pg_lsn
