-- name: grants
-- What lets roles other than the owner and the exempt ones write the tables or their partitions.
WITH RECURSIVE given AS (
    SELECT c.oid, n.nspname, c.relname, c.relowner, c.relacl
    FROM unnest(%(schemas)s::text[], %(tables)s::text[]) AS wanted(schema, name)
    JOIN pg_namespace n ON n.nspname = wanted.schema
    JOIN pg_class root ON root.relnamespace = n.oid AND root.relname = wanted.name
    CROSS JOIN LATERAL (
        SELECT root.oid AS relid UNION SELECT relid::oid FROM pg_partition_tree(root.oid)
    ) AS part
    JOIN pg_class c ON c.oid = part.relid
), reached AS (
    SELECT oid FROM pg_roles WHERE rolname = ANY (%(roles)s::text[])
    UNION
    SELECT m.roleid FROM pg_auth_members m JOIN reached r ON m.member = r.oid
), explicit AS (
    SELECT g.oid, '' AS column, g.relowner, e.* FROM given g, aclexplode(g.relacl) AS e
    UNION ALL
    SELECT g.oid, a.attname, g.relowner, e.*
    FROM given g JOIN pg_attribute a ON a.attrelid = g.oid, aclexplode(a.attacl) AS e
)
SELECT
    n.nspname, c.relname, e.column, COALESCE(r.rolname, ''), o.rolname, e.privilege_type,
    e.is_grantable, e.grantor = e.relowner
FROM explicit e
JOIN pg_class c ON c.oid = e.oid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_roles o ON o.oid = e.grantor
LEFT JOIN pg_roles r ON r.oid = e.grantee
WHERE e.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')
    AND e.grantee <> e.relowner
    AND COALESCE(r.rolname, '') <> ALL (%(exempt)s::text[])
    AND (%(roles)s::text[] IS NULL OR e.grantee = 0 OR e.grantee IN (SELECT oid FROM reached))

-- name: blockers
-- Sessions with locks on the tables of any mode but the harmless.
SELECT DISTINCT ON (l.pid, x.gid)
    COALESCE(l.pid, 0), COALESCE(a.usename, x.owner, ''),
    COALESCE(host(a.client_addr), 'local'), COALESCE(a.application_name, ''),
    CASE WHEN l.pid IS NULL THEN 'prepared transaction ' || COALESCE(x.gid, '?')
        WHEN a.state = 'active' THEN a.query ELSE '' END,
    COALESCE(extract(epoch FROM clock_timestamp() - COALESCE(a.xact_start, x.prepared)), 0)::float8,
    n.nspname || '.' || c.relname
FROM pg_locks l
JOIN pg_class c ON c.oid = l.relation
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN unnest(%(schemas)s::text[], %(tables)s::text[]) AS wanted(schema, name)
    ON wanted.schema = n.nspname AND wanted.name = c.relname
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
LEFT JOIN pg_prepared_xacts x
    ON l.pid IS NULL AND l.virtualtransaction = '-1/' || x.transaction::text
WHERE l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND l.pid IS DISTINCT FROM pg_backend_pid()
    AND l.mode <> ALL (%(harmless)s::text[])
ORDER BY l.pid, x.gid

-- name: missing
-- What a grant needs and is no more there; '' if nothing.
SELECT COALESCE(
    CASE WHEN to_regclass(quote_ident(%(schema)s) || '.' || quote_ident(%(table)s)) IS NULL
        THEN 'the table' END,
    CASE WHEN %(column)s <> '' AND NOT EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = to_regclass(quote_ident(%(schema)s) || '.' || quote_ident(%(table)s))
            AND attname = %(column)s AND NOT attisdropped) THEN 'the column' END,
    CASE WHEN %(grantee)s <> '' AND to_regrole(quote_ident(%(grantee)s)) IS NULL
        THEN 'the role' END,
    CASE WHEN NOT %(by_owner)s AND to_regrole(quote_ident(%(grantor)s)) IS NULL
        THEN 'the grantor' END,
    '')

-- name: table_problems
-- Tables that are not there, or whose rights the session may not change.
SELECT wanted.schema || '.' || wanted.name, o.rolname
FROM unnest(%(schemas)s::text[], %(tables)s::text[]) AS wanted(schema, name)
LEFT JOIN pg_namespace n ON n.nspname = wanted.schema
LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
LEFT JOIN pg_roles o ON o.oid = c.relowner
WHERE c.oid IS NULL OR NOT pg_has_role(c.relowner, 'USAGE')
ORDER BY 1

-- name: free_roles
-- Roles with a login that write whatever is revoked, and why.
SELECT r.rolname, CASE
    WHEN r.rolsuper THEN 'is a superuser'
    WHEN pg_has_role(r.oid, 'pg_write_all_data', 'MEMBER') THEN 'is a member of pg_write_all_data'
    ELSE 'is, or may become, the owner of ' || min(n.nspname || '.' || c.relname) END
FROM pg_roles r
CROSS JOIN unnest(%(schemas)s::text[], %(tables)s::text[]) AS wanted(schema, name)
JOIN pg_namespace n ON n.nspname = wanted.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
WHERE r.rolcanlogin AND r.rolname <> ALL (%(exempt)s::text[])
    AND (r.rolsuper OR pg_has_role(r.oid, 'pg_write_all_data', 'MEMBER')
        OR pg_has_role(r.oid, c.relowner, 'MEMBER'))
GROUP BY r.oid, r.rolname, r.rolsuper
ORDER BY 1

-- name: exempt_by_others
-- Exempt roles that could not write a table any more, since they have it of those that are fenced.
SELECT r.rolname, min(n.nspname || '.' || c.relname)
FROM pg_roles r
CROSS JOIN unnest(%(schemas)s::text[], %(tables)s::text[]) AS wanted(schema, name)
JOIN pg_namespace n ON n.nspname = wanted.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
WHERE r.rolname = ANY (%(exempt)s::text[]) AND NOT r.rolsuper
    AND NOT pg_has_role(r.oid, c.relowner, 'USAGE')
    AND NOT pg_has_role(r.oid, 'pg_write_all_data', 'USAGE')
    AND has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE')
    AND NOT EXISTS (
        SELECT FROM aclexplode(c.relacl) e JOIN pg_roles g ON g.oid = e.grantee
        WHERE g.rolname = ANY (%(exempt)s::text[]) AND pg_has_role(r.oid, g.oid, 'USAGE')
            AND e.privilege_type = 'INSERT')
GROUP BY r.rolname
ORDER BY 1

-- name: definers
-- Functions that run as their owner, with their text.
SELECT 'function', n.nspname || '.' || p.proname, o.rolname, COALESCE(p.prosrc, ''),
    'ALTER FUNCTION ' || p.oid::regprocedure || ' SECURITY INVOKER'
FROM pg_proc p
JOIN pg_namespace n ON n.oid = p.pronamespace
JOIN pg_roles o ON o.oid = p.proowner
WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema')

-- name: views
-- Views on the tables through which others than their owner write, with its rights.
SELECT DISTINCT v.oid::regclass::text, o.rolname, COALESCE(g.rolname, 'PUBLIC')
FROM unnest(%(schemas)s::text[], %(tables)s::text[]) AS wanted(schema, name)
JOIN pg_namespace n ON n.nspname = wanted.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
    AND d.classid = 'pg_rewrite'::regclass
JOIN pg_rewrite w ON w.oid = d.objid
JOIN pg_class v ON v.oid = w.ev_class AND v.relkind = 'v'
JOIN pg_roles o ON o.oid = v.relowner
CROSS JOIN LATERAL aclexplode(v.relacl) AS e
LEFT JOIN pg_roles g ON g.oid = e.grantee
WHERE e.grantee <> v.relowner AND e.privilege_type IN ('INSERT', 'UPDATE', 'DELETE')
    AND COALESCE(g.rolname, '') <> ALL (%(exempt)s::text[])
    AND NOT 'security_invoker=true' = ANY (COALESCE(v.reloptions, '{}'))

-- name: may_end
-- Whether the session may end those of others.
SELECT pg_has_role('pg_signal_backend', 'USAGE'), current_user

-- name: may_become
SELECT pg_has_role(%(grantor)s::name, 'MEMBER')
