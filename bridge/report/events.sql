-- name: events
-- Everything that was written down, wherever that is, since a time. A transaction's rows carry the
-- time when it began, so that some appear behind younger ones: whoever follows looks back a little.
WITH all_events AS (
    SELECT 'e' || id AS id, at, kind, subject, message FROM dbbridge.events
    WHERE pipeline = %(pipeline)s
    UNION ALL
    SELECT 'c' || id, at, 'cutover', grp,
           CASE event
               WHEN 'taken' THEN operator || ' took it, ' || after
               WHEN 'failed' THEN before || ' failed: ' || coalesce(detail ->> 'error', '')
               ELSE before || ' -> ' || after || ' (' || event || ') after '
                    || round(seconds::numeric, 3) || ' s'
           END
    FROM dbbridge.cutover_steps WHERE pipeline = %(pipeline)s
    UNION ALL
    SELECT 'w' || grp || '/' || gate || '/' || extract(epoch FROM at), at, 'waived', grp,
           gate || ': ' || reason || ' (' || by || ')'
    FROM dbbridge.waivers WHERE pipeline = %(pipeline)s
    UNION ALL
    SELECT 'r' || id, requested_at, 'asked', source_schema || '.' || source_table,
           verb || ' (' || requested_by || ')'
    FROM dbbridge.requests WHERE pipeline = %(pipeline)s
    UNION ALL
    -- Nobody may have waited for the answer.
    SELECT 'n' || id, done_at, 'refused', source_schema || '.' || source_table,
           verb || ': ' || substr(result, length('refused: ') + 1)
    FROM dbbridge.requests WHERE pipeline = %(pipeline)s AND starts_with(result, 'refused: ')
    UNION ALL
    SELECT 'd' || id, discarded_at, 'discarded', source_schema || '.' || source_table,
           code || ' in ' || column_name || ': ' || reason || ' (' || discarded_by || ')'
    FROM dbbridge.discards WHERE pipeline = %(pipeline)s
)
SELECT id, at, kind, subject, message FROM all_events
WHERE at >= %(since)s ORDER BY at, length(id), id
