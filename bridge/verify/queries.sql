-- name: standing
SELECT t.generation, t.stage, t.paused, t.error_code, t.error,
       COALESCE(t.frontier_kind, p.position_kind), COALESCE(t.frontier, p.position),
       CASE WHEN t.frontier IS NULL THEN p.position_file ELSE t.frontier_file END,
       CASE WHEN t.frontier IS NULL THEN p.position_offset ELSE t.frontier_offset END,
       p.source_id, extract(epoch FROM now() - d.renewed_at)::float8
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
SELECT key, reason FROM dbbridge.discards
WHERE pipeline = %(pipeline)s AND source_schema = %(schema)s AND source_table = %(table)s
ORDER BY discarded_at
