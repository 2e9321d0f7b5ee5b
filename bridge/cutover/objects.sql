-- name: constraints
-- Those of the named ones that are there.
SELECT wanted.schema, wanted.relation, wanted.name
FROM unnest(%(schema)s::text[], %(table)s::text[], %(name)s::text[]) AS wanted(schema, relation, name)
JOIN pg_namespace n ON n.nspname = wanted.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.relation
JOIN pg_constraint k ON k.conrelid = c.oid AND k.conname = wanted.name
