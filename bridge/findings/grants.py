"""G: what the bridge's accounts may do."""

from __future__ import annotations

from bridge.findings.base import Code

GRANTS = (
    Code(
        "G001",
        "select-missing",
        "error",
        "The copy, and verification, read the tables: the account needs SELECT on the database.",
        "run the GRANT line as an administrator of the source",
    ),
    Code(
        "G002",
        "replication-slave-missing",
        "error",
        "Reading the binary log needs REPLICATION SLAVE, which can only be granted globally.",
        "run the GRANT line as an administrator of the source",
    ),
    Code(
        "G003",
        "replication-client-missing",
        "error",
        "Asking for the position in the binary log needs REPLICATION CLIENT, which MariaDB also"
        " calls BINLOG MONITOR. It can only be granted globally.",
        "run the GRANT line as an administrator of the source",
    ),
    Code(
        "G004",
        "log-bypass",
        "info",
        "These accounts may switch the binary log off for their session (SET sql_log_bin=0)."
        " What they write then is never seen by the bridge.",
        "make sure that they do not while the bridge runs; verification finds what was missed",
    ),
    Code(
        "G005",
        "heartbeat-rights-missing",
        "error",
        "The settings name a table for heartbeats (pipeline.heartbeat): the account makes it and"
        " writes one row there. Its database must exist.",
        "run the GRANT line as an administrator of the source, or leave the setting out",
    ),
    Code(
        "G010",
        "create-schema-missing",
        "error",
        "The bridge makes its control schema `dbbridge` and the target schemas: its role needs"
        " CREATE on the target database.",
        "run the GRANT line as the owner of the database",
    ),
    Code(
        "G011",
        "create-table-missing",
        "error",
        "The role may not make tables in a target schema that exists already.",
        "run the GRANT line as the owner of the schema",
    ),
    Code(
        "G012",
        "table-rights-missing",
        "error",
        "Rows are applied to a table that the role does not own: it needs SELECT, INSERT,"
        " UPDATE, DELETE and TRUNCATE there, and ownership to build indexes.",
        "run the GRANT or ALTER … OWNER line as the owner of the table",
    ),
)
