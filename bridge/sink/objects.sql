-- name: schemas
SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname = ANY (%(schemas)s)

-- name: relations
SELECT n.nspname, c.relname, c.relkind
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY (%(schemas)s)

-- name: columns
SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       a.attgenerated <> '', a.atthasdef OR a.attidentity <> '', coalesce(l.collname, '')
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
 WHERE n.nspname = ANY (%(schemas)s) AND c.relname = ANY (%(tables)s)
   AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum

-- name: indexes
SELECT n.nspname, t.relname, i.relname, x.indisunique, x.indisprimary,
       x.indisvalid AND x.indisready, x.indpred IS NOT NULL, m.amname,
       ARRAY(SELECT coalesce(a.attname, '')
               FROM unnest(x.indkey[0:x.indnkeyatts - 1]) WITH ORDINALITY AS k (attnum, place)
               LEFT JOIN pg_catalog.pg_attribute a
                      ON a.attrelid = t.oid AND a.attnum = k.attnum AND k.attnum > 0
              ORDER BY k.place)::text[]
  FROM pg_catalog.pg_index x
  JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
  JOIN pg_catalog.pg_am m ON m.oid = i.relam
  JOIN pg_catalog.pg_class t ON t.oid = x.indrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
 WHERE n.nspname = ANY (%(schemas)s) AND t.relname = ANY (%(tables)s)

-- name: constraints
SELECT n.nspname, t.relname, k.conname, k.contype, k.convalidated,
       ARRAY(SELECT a.attname FROM unnest(k.conkey) WITH ORDINALITY AS c (attnum, place)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = c.attnum
              ORDER BY c.place)::text[],
       coalesce(pn.nspname, ''), coalesce(p.relname, ''),
       ARRAY(SELECT a.attname FROM unnest(k.confkey) WITH ORDINALITY AS c (attnum, place)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = p.oid AND a.attnum = c.attnum
              ORDER BY c.place)::text[]
  FROM pg_catalog.pg_constraint k
  JOIN pg_catalog.pg_class t ON t.oid = k.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
  LEFT JOIN pg_catalog.pg_class p ON p.oid = k.confrelid
  LEFT JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
 WHERE n.nspname = ANY (%(schemas)s) AND t.relname = ANY (%(tables)s)

-- name: triggers
SELECT n.nspname, t.relname, g.tgname, g.tgenabled <> 'D'
  FROM pg_catalog.pg_trigger g
  JOIN pg_catalog.pg_class t ON t.oid = g.tgrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
 WHERE n.nspname = ANY (%(schemas)s) AND t.relname = ANY (%(tables)s) AND NOT g.tgisinternal
