"""What is wrong with the target, and what it will not have of the source's definitions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from bridge.findings import Finding, finding
from bridge.mapping.plan import TablePlan
from bridge.names import TableName, quote_postgres
from bridge.sink.constraints import constraints
from bridge.sink.ddl import losses, name_clashes
from bridge.sink.existing import Connection, Existing, read_existing
from bridge.sink.shape import differences

CONTROL_SCHEMA = "dbbridge"
_VERSIONS = (14, 18)
_ENGINE = """
SELECT current_setting('server_version_num')::integer / 10000, current_setting('server_version'),
       current_setting('server_encoding'), pg_is_in_recovery(),
       current_setting('default_transaction_read_only')::boolean, current_database(), current_user,
       has_database_privilege(current_database(), 'CREATE')"""
_SCHEMAS = """
SELECT nspname, has_schema_privilege(oid, 'CREATE') AND has_schema_privilege(oid, 'USAGE')
  FROM pg_catalog.pg_namespace WHERE nspname = ANY (%s)"""
_OWNED = """
SELECT n.nspname, c.relname
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY (%s) AND c.relkind IN ('r', 'p') AND NOT pg_has_role(c.relowner, 'USAGE')"""
_REFERRED = """
SELECT n.nspname, c.relname, k.conname, own.nspname, child.relname
  FROM pg_catalog.pg_constraint k
  JOIN pg_catalog.pg_class c ON c.oid = k.confrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_class child ON child.oid = k.conrelid
  JOIN pg_catalog.pg_namespace own ON own.oid = child.relnamespace
 WHERE k.contype = 'f' AND n.nspname = ANY (%s)"""


def target_findings(
    conn: Connection, plans: Sequence[TablePlan] = (), followed: Collection[TableName] = ()
) -> list[Finding]:
    """What hinders the bridge in the target: version, settings, rights, and tables in the way.

    `followed`: tables of the target that the pipeline made and writes. The hint of a missing right
    is the line to run. Raises psycopg's errors.
    """
    found = [*_engine(conn), *_rights(conn, plans)]
    if plans:
        existing = read_existing(conn, plans)
        for plan in plans:
            found += differences(existing, plan, followed)
            found += _acting(existing, plan)
        found += _referred(conn, plans)
        found += [finding("T032", message=clash) for clash in name_clashes(plans)]
    return found


def plan_findings(plans: Sequence[TablePlan]) -> list[Finding]:
    """What the targets of these plans will not have of their sources."""
    pairs = [(plan, loss) for plan in plans for loss in losses(plan)]
    pairs += constraints(plans)[1]
    return [
        finding(loss.code, table=str(plan.source), column=loss.column, message=loss.message)
        for plan, loss in pairs
    ]


def _one(conn: Connection) -> Sequence[Any]:
    return tuple(conn.execute(_ENGINE).fetchall()[0])


def _engine(conn: Connection) -> Iterator[Finding]:
    major, version, encoding, standby, read_only, *_ = _one(conn)
    if not _VERSIONS[0] <= major <= _VERSIONS[1]:
        severity = "error" if major < _VERSIONS[0] else "warning"
        yield finding("S020", message=f"the target is PostgreSQL {version}", severity=severity)
    if encoding != "UTF8":
        yield finding("S021", message=f"the target database's encoding is {encoding}")
    if standby:
        yield finding("S022", message="the target is a standby")
    elif read_only:
        yield finding("S022", message="default_transaction_read_only is on")


def _rights(conn: Connection, plans: Sequence[TablePlan]) -> Iterator[Finding]:
    database, role, may_create = _one(conn)[5:]
    wanted = sorted({CONTROL_SCHEMA, *(plan.target.schema for plan in plans)})
    there = dict(conn.execute(_SCHEMAS, (wanted,)).fetchall())
    to = quote_postgres(role)
    new = [schema for schema in wanted if schema not in there]
    if new and not may_create:
        yield finding(
            "G010",
            message=f"{role} may not make the schemas {', '.join(new)}",
            hint=f"GRANT CREATE ON DATABASE {quote_postgres(database)} TO {to};",
        )
    for schema in wanted:
        if there.get(schema) is False:
            yield finding(
                "G011",
                message=f"{role} may not make tables in the schema {schema}",
                hint=f"GRANT USAGE, CREATE ON SCHEMA {quote_postgres(schema)} TO {to};",
            )
    targets = {plan.target for plan in plans}
    for schema, table in conn.execute(_OWNED, (wanted,)):
        name = TableName(schema, table)
        if name in targets:
            yield finding(
                "G012",
                table=str(name),
                message=f"{role} does not own it",
                hint=f"ALTER TABLE {name.postgres} OWNER TO {to};",
            )


def _acting(existing: Existing, plan: TablePlan) -> Iterator[Finding]:
    """Triggers and foreign keys of the target's own table that act on applied rows."""
    table, quoted = str(plan.target), plan.target.postgres
    for name, enabled in existing.triggers[plan.target].items():
        if enabled:
            hint = f"ALTER TABLE {quoted} DISABLE TRIGGER {quote_postgres(name)};"
            yield finding("T031", table=table, message=f"trigger {name} is enabled", hint=hint)
    for key in existing.keys[plan.target]:
        if key.kind == "f":
            hint = f"ALTER TABLE {quoted} DROP CONSTRAINT {quote_postgres(key.name)};"
            yield finding("T031", table=table, message=f"foreign key {key.name}", hint=hint)


def _referred(conn: Connection, plans: Sequence[TablePlan]) -> Iterator[Finding]:
    """Foreign keys of tables that are not moved, to ones that are."""
    targets = {plan.target for plan in plans}
    schemas = sorted({target.schema for target in targets})
    for schema, table, name, *rest in conn.execute(_REFERRED, (schemas,)):
        target, child = TableName(schema, table), TableName(*rest)
        if target in targets and child not in targets:
            message = f"foreign key {name} of {child} refers to it"
            yield finding("T031", table=str(target), message=message)
