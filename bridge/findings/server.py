"""S: how the servers are set."""

from __future__ import annotations

from bridge.findings.base import Code

SERVER = (
    Code(
        "S001",
        "source-version",
        "error",
        "Sources are MySQL 5.6 to 9.x and MariaDB 10.5 and later.",
        "upgrade the source, or put a replica of a supported version between",
    ),
    Code(
        "S002",
        "binlog-off",
        "error",
        "Without a binary log changes cannot be followed.",
        "start the server with log_bin (and a server_id), which needs a restart",
    ),
    Code(
        "S003",
        "binlog-format",
        "error",
        "binlog_format must be ROW: STATEMENT and MIXED log statements instead of the rows that"
        " they changed.",
        "SET GLOBAL binlog_format = ROW; sessions that are open keep theirs until they reconnect",
    ),
    Code(
        "S004",
        "row-image",
        "error",
        "binlog_row_image must be FULL: otherwise changes hold only some columns, and a row"
        " that the target does not have yet cannot be made from them.",
        "SET GLOBAL binlog_row_image = FULL; sessions that are open keep theirs until they"
        " reconnect",
    ),
    Code(
        "S005",
        "row-metadata",
        "error",
        "With binlog_row_metadata=FULL every change names its columns, so values cannot get"
        " under a wrong name after a DDL. The setting is dynamic and exists from MySQL 8.0.1 and"
        " MariaDB 10.5 on.",
        "SET GLOBAL binlog_row_metadata = FULL, and write it into the server's configuration",
    ),
    Code(
        "S006",
        "partial-json",
        "error",
        "binlog_row_value_options=PARTIAL_JSON logs JSON changes as differences to a document"
        " that the log does not hold.",
        "SET GLOBAL binlog_row_value_options = ''",
    ),
    Code(
        "S007",
        "binlog-expiry",
        "warning",
        "The binary log is kept for less than two days. If the copy or a pause lasts longer"
        " than the log, the tables concerned have to be copied again.",
        "SET GLOBAL binlog_expire_logs_seconds = 604800 (expire_logs_days = 7 on older servers)",
    ),
    Code(
        "S008",
        "binlog-filter",
        "error",
        "The server leaves databases out of the binary log (binlog_do_db, binlog_ignore_db),"
        " and judges by the session's default database, not by the table.",
        "remove the filter from the server's configuration and restart it",
    ),
    Code(
        "S009",
        "gtid-off",
        "warning",
        "Without GTIDs a position is a file and an offset of this one server: after a failover"
        " of the source every table has to be copied again, and a table can only be copied"
        " after FLUSH BINARY LOGS if its definition is younger than the current file.",
        "turn GTIDs on: gtid_mode and enforce_gtid_consistency",
    ),
    Code(
        "S010",
        "replica-updates",
        "error",
        "The source is itself a replica and does not log what it applies (log_replica_updates,"
        " before MySQL 8.0.26 and on MariaDB log_slave_updates): changes made on its primary"
        " would be missed.",
        "turn log_replica_updates on (a restart), or read from the primary",
    ),
    Code(
        "S011",
        "server-id",
        "error",
        "server_id is 0: such a server refuses to send its binary log.",
        "SET GLOBAL server_id to a number that no other server of the topology has",
    ),
    Code(
        "S012",
        "plain-connection",
        "warning",
        "The connection is not encrypted: rows and the password's exchange pass the network"
        " readable.",
        "set tls: {mode: required} (or verify) for this database in bridge.yaml",
    ),
    Code(
        "S013",
        "galera",
        "warning",
        "The source is a node of a Galera cluster. Each node writes a binary log of its own,"
        " and file and offset mean nothing on another node.",
        "read from one fixed node, with wsrep_gtid_mode=ON",
    ),
    Code(
        "S014",
        "small-packets",
        "info",
        "max_allowed_packet is small. Longer values are read on their own, which is slower.",
        "raise max_allowed_packet (64M or more)",
    ),
    Code(
        "S015",
        "xa-prepared",
        "warning",
        "XA transactions are prepared and not decided. The log has their rows already, and no read"
        " sees them: no table's copy begins, and a switch is refused, while there are any. Prepared"
        " later, they stop the followed tables that they change.",
        "commit or roll back what XA RECOVER shows",
    ),
    Code(
        "S016",
        "row-names",
        "warning",
        "The server cannot log column names (binlog_row_metadata came with MySQL 8.0.1). After"
        " each DDL on a followed table the bridge stops that table until its definition is"
        " certain.",
        "avoid DDL on followed tables, or upgrade the source",
    ),
    Code(
        "S020",
        "target-version",
        "error",
        "Targets are PostgreSQL 14 to 18.",
        "upgrade the target",
    ),
    Code(
        "S021",
        "target-encoding",
        "error",
        "The target database's encoding must be UTF8; others cannot hold what the source holds.",
        "CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'",
    ),
    Code(
        "S022",
        "target-read-only",
        "error",
        "The target is a standby or its sessions are read-only by default.",
        "connect to the primary, or reset default_transaction_read_only",
    ),
)
