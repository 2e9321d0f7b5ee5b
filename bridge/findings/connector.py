"""K: how Debezium's connector is set, for pipelines that capture through Kafka."""

from __future__ import annotations

from bridge.findings.base import Code

_ANEW = ", then have the connector make its snapshot anew"

CONNECTOR = (
    Code(
        "K001",
        "connector-class",
        "error",
        "The bridge reads events of Debezium's connectors for MySQL and MariaDB.",
        "name the connector of the pipeline's source in bridge.yaml",
    ),
    Code(
        "K002",
        "connector-converter",
        "error",
        "Events must be JSON, written by Kafka Connect's JsonConverter.",
        "set key.converter and value.converter to org.apache.kafka.connect.json.JsonConverter, in"
        " the connector or in the worker",
    ),
    Code(
        "K003",
        "connector-decimals",
        "error",
        "decimal.handling.mode=double sends DECIMAL as a binary floating point number, which has"
        " not all digits of it.",
        "set decimal.handling.mode=string" + _ANEW,
    ),
    Code(
        "K004",
        "connector-mode",
        "error",
        "A handling mode is none that the bridge knows, so it cannot tell what values look like.",
        "use decimal.handling.mode=string, time.precision.mode=adaptive_time_microseconds,"
        " binary.handling.mode=base64, bigint.unsigned.handling.mode=long",
    ),
    Code(
        "K005",
        "connector-times",
        "warning",
        "Under this time.precision.mode the connector makes NULL of times outside a day, or cuts"
        " fractions of a second; tables with such columns are refused (K018).",
        "set time.precision.mode=adaptive_time_microseconds" + _ANEW,
    ),
    Code(
        "K006",
        "connector-nanoseconds",
        "warning",
        "time.precision.mode=nanoseconds counts in 64 bits from 1677 to 2262: the connector stops"
        " at the first DATETIME outside.",
        "set time.precision.mode=microseconds",
    ),
    Code(
        "K007",
        "connector-years",
        "error",
        "enable.time.adjuster is on, as it is by default: the connector makes 2001 of the year 1,"
        " and so on up to 99.",
        "set enable.time.adjuster=false" + _ANEW,
    ),
    Code(
        "K008",
        "connector-null-default",
        "error",
        "The converter writes a column's default where the column is NULL"
        " (replace.null.with.default is on, as it is by default).",
        "set value.converter.replace.null.with.default=false" + _ANEW,
    ),
    Code(
        "K009",
        "connector-truncate",
        "error",
        "The connector leaves TRUNCATE TABLE out (skipped.operations is t by default), or other"
        " operations too: rows that are gone in the source would stay.",
        "set skipped.operations=none",
    ),
    Code(
        "K010",
        "connector-skips-errors",
        "error",
        "The connector goes on past what it cannot read, or puts NULL in its place.",
        "set event.processing.failure.handling.mode, inconsistent.schema.handling.mode and"
        " event.converting.failure.handling.mode to fail, errors.tolerance to none, and"
        " schema.history.internal.skip.unparseable.ddl to false",
    ),
    Code(
        "K011",
        "connector-changes-rows",
        "error",
        "The connector changes what it sends: columns are masked, truncated or renamed, or a"
        " custom converter or a transformation is at work that the bridge does not know.",
        "remove the setting" + _ANEW,
    ),
    Code(
        "K012",
        "connector-message-key",
        "warning",
        "message.key.columns gives a table's messages another key than its own: changes of one row"
        " may come through different partitions, in any order.",
        "remove message.key.columns, or give those topics one partition",
    ),
    Code(
        "K013",
        "connector-schemaless",
        "warning",
        "Events come without schemas: a definition that has changed shows only in the names of"
        " columns. DECIMAL as bytes, and times counted in another unit, would be read wrongly until"
        " the statement is seen in the topic of schema changes.",
        "decimal.handling.mode=string with time.precision.mode=microseconds does not depend on the"
        " definition; or set value.converter.schemas.enable=true",
    ),
    Code(
        "K014",
        "connector-schema-changes",
        "error",
        "The connector does not tell of changed definitions (include.schema.changes=false).",
        "set include.schema.changes=true",
    ),
    Code(
        "K015",
        "connector-zero-dates",
        "warning",
        "Debezium knows no zero dates: it sends NULL, or 1970-01-01 or the column's default where"
        " the column is NOT NULL, and nothing tells them from such values. Other impossible dates"
        " stop the connector.",
        "mend zero dates in the source (dbbridge check --for copy counts them), or read its binlog"
        " (capture: {kind: binlog})",
    ),
    Code(
        "K016",
        "connector-floats",
        "warning",
        "Debezium's snapshots hold a FLOAT as the server prints it, with six digits.",
        "let the bridge copy the table itself, or change the column to DOUBLE",
    ),
    Code(
        "K017",
        "connector-year-zero",
        "warning",
        "Debezium's snapshots hold the YEAR 0000 as 2000.",
        "let the bridge copy the table itself",
    ),
    Code(
        "K018",
        "connector-column",
        "error",
        "The connector's settings do not keep the values of a column.",
        "change the setting that the finding names" + _ANEW,
    ),
    Code(
        "K019",
        "connector-documents",
        "info",
        "Inside JSON documents Debezium's stream does not tell doubles that are whole numbers from"
        " integers, and leaves out zeros at the end of the fractions of times: the text of such"
        " values is not what the source prints.",
        "read the source's binlog (capture: {kind: binlog}) if the text of documents matters",
    ),
)
