-- name: unproven
SELECT p.source_schema, p.source_table,
       GREATEST(0, COALESCE((SELECT sum(t.inserts + t.updates + t.deletes) FROM dbbridge.tables t
                             WHERE (t.pipeline, t.source_schema, t.source_table)
                                 = (p.pipeline, p.source_schema, p.source_table)), 0)
                   - p.changes)::bigint,
       jsonb_array_length(p.open), p.round_keys, p.round_seconds
FROM dbbridge.proofs p WHERE p.pipeline = %(pipeline)s AND p.swept
ORDER BY p.source_schema, p.source_table

-- name: quarantined
SELECT source_schema, source_table, count(*),
       md5(string_agg(md5(key) || code, ',' ORDER BY md5(key)))
FROM dbbridge.quarantine WHERE pipeline = %(pipeline)s
GROUP BY source_schema, source_table ORDER BY source_schema, source_table

-- name: discarded
SELECT source_schema, source_table, count(*), array_agg(DISTINCT reason ORDER BY reason)
FROM dbbridge.discards WHERE pipeline = %(pipeline)s
GROUP BY source_schema, source_table ORDER BY source_schema, source_table

-- name: unconfirmed
SELECT count(*), COALESCE(extract(epoch FROM clock_timestamp() - min(applied_at)), 0)::float8
FROM dbbridge.applied_ops WHERE pipeline = %(pipeline)s AND NOT confirmed

-- name: prepared
SELECT quote_literal(gid) FROM pg_prepared_xacts WHERE database = current_database() ORDER BY gid

-- name: transactions
SELECT a.pid, COALESCE(a.usename, ''), COALESCE(host(a.client_addr), ''),
       COALESCE(a.application_name, ''),
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8,
       EXISTS (SELECT FROM pg_locks l
               WHERE l.pid = a.pid AND l.locktype = 'transactionid' AND l.granted),
       left(COALESCE(a.query, ''), 200)
FROM pg_stat_activity a
WHERE a.pid <> pg_backend_pid() AND a.datname = current_database()
  AND a.backend_type = 'client backend' AND a.xact_start IS NOT NULL
ORDER BY a.pid

-- name: hidden_transactions
-- What another role's session does is shown to members of pg_read_all_stats alone; its locks are
-- shown to everybody, and a transaction holds its virtual id (manual: pg_stat_activity, pg_locks).
SELECT a.pid, COALESCE(a.usename, ''), l.virtualxid
FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid
WHERE a.pid <> pg_backend_pid() AND a.datname = current_database() AND a.usesysid IS NOT NULL
  AND a.backend_type IS NULL AND l.locktype = 'virtualxid' AND l.granted

-- name: statistics
SELECT s.schemaname, s.relname,
       s.last_analyze IS NOT NULL OR s.last_autoanalyze IS NOT NULL, s.n_live_tup, s.n_mod_since_analyze,
       ARRAY(SELECT i.indexrelid::regclass::text FROM pg_index i
             WHERE i.indrelid = s.relid AND NOT (i.indisvalid AND i.indisready) ORDER BY 1)
FROM pg_stat_user_tables s
JOIN unnest(%(schemas)s::text[], %(tables)s::text[]) AS wanted (schema, name)
     ON (s.schemaname, s.relname) = (wanted.schema, wanted.name)
ORDER BY s.schemaname, s.relname

-- name: instances
SELECT instance::text, kind, host, pid, (epochs ->> %(group)s)::bigint,
       extract(epoch FROM clock_timestamp() - seen_at)::float8
FROM dbbridge.instances
WHERE pipeline = %(pipeline)s AND seen_at > clock_timestamp() - interval '1 hour'
ORDER BY host, pid

-- name: census
SELECT side, extract(epoch FROM clock_timestamp() - began_at)::float8,
       extract(epoch FROM clock_timestamp() - looked_at)::float8, unseen
FROM dbbridge.census WHERE pipeline = %(pipeline)s ORDER BY side

-- name: writers
SELECT side, account, host, program, statements, extract(epoch FROM first_seen)::float8,
       extract(epoch FROM last_seen)::float8
FROM dbbridge.writers
WHERE pipeline = %(pipeline)s AND last_seen > clock_timestamp() - make_interval(secs => %(seconds)s)
ORDER BY side, account, host, program

-- name: replication
SELECT current_setting('wal_level'), current_setting('max_replication_slots')::int,
       (SELECT count(*) FROM pg_replication_slots), current_setting('max_wal_senders')::int,
       (SELECT count(*) FROM pg_stat_replication),
       (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user),
       has_database_privilege(current_database(), 'CREATE'),
       EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = %(slot)s)

-- name: owned
SELECT n.nspname, c.relname, pg_has_role(c.relowner, 'USAGE'), c.relreplident::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN unnest(%(schemas)s::text[], %(tables)s::text[]) AS wanted (schema, name)
     ON (n.nspname, c.relname) = (wanted.schema, wanted.name)
ORDER BY n.nspname, c.relname
