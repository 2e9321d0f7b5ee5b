"""P: why a table stands still, as `status` names it. Q: why a row is in quarantine."""

from __future__ import annotations

from bridge.findings.base import Code

_RESYNC = "mend the cause, then: dbbridge tables resync TABLE"

STOPS = (
    Code(
        "P001",
        "ddl",
        "error",
        "The source changed the definition of a followed table. Rows that were logged afterwards"
        " may have another form, so the table stops exactly before the change; the others go on.",
        "run `dbbridge init`, look at the mapping, then: dbbridge tables resync TABLE",
    ),
    Code(
        "P002",
        "definition-changed",
        "error",
        "The table's definition in the source is not the one that its mapping was made for.",
        "run `dbbridge init`, look at the mapping, then: dbbridge tables resync TABLE",
    ),
    Code(
        "P003",
        "statement-format",
        "error",
        "A session of the source logged a statement instead of the rows that it changed, so what"
        " became of the rows is not known.",
        "set binlog_format=ROW for all sessions of the source, then: dbbridge tables resync TABLE",
    ),
    Code(
        "P004",
        "partial-image",
        "error",
        "The source logged only some columns of a row, or only a difference to a JSON document.",
        "set binlog_row_image=FULL and binlog_row_value_options='', then: dbbridge tables resync"
        " TABLE",
    ),
    Code(
        "P005",
        "type-mismatch",
        "error",
        "The log sends a column in another type than the catalogue says: the definition changed in"
        " a way that was not seen.",
        _RESYNC,
    ),
    Code(
        "P006",
        "undecodable",
        "error",
        "A rows event of the log could not be read as rows of the known definition. Nothing of it"
        " was applied.",
        _RESYNC,
    ),
    Code(
        "P007",
        "unknown-type",
        "error",
        "The table has a column of a type that cannot be carried.",
        "write it as {type: dropped, reason: …} in the mapping file",
    ),
    Code(
        "P008",
        "rolled-back",
        "error",
        "The source logged changes of a table without transactions and rolled back what it could;"
        " which rows stayed changed the log does not say.",
        _RESYNC,
    ),
    Code(
        "P009",
        "bad-key",
        "error",
        "A row's key has a value that the target cannot hold. Such a row cannot even be set aside,"
        " since it is by the key that the quarantine knows it.",
        "give the key column another target type, or mend the row, then: dbbridge tables resync"
        " TABLE",
    ),
    Code(
        "P010",
        "bad-row",
        "error",
        "A row of a table without a key has a value that the target cannot hold, and there is no"
        " key to set it aside by.",
        "give the column a policy in the mapping file, then: dbbridge tables resync TABLE",
    ),
    Code(
        "P011",
        "bad-row-without-key",
        "error",
        "The stream brought a row of a table without a key that the target cannot hold, and there"
        " is no key to set it aside by.",
        "give the column a policy in the mapping file, then: dbbridge tables resync TABLE",
    ),
    Code(
        "P012",
        "bad-parent",
        "error",
        "A row that the target cannot hold has child rows that a foreign key changes with it.",
        "give the column a policy in the mapping file, then: dbbridge tables resync TABLE",
    ),
    Code(
        "P013",
        "cascade-in-quarantine",
        "error",
        "A foreign key of the source may have changed or deleted rows that are in quarantine, which"
        " it did not log.",
        "mend the quarantined rows in the source or give their columns a policy, then: dbbridge"
        " tables resync TABLE",
    ),
    Code(
        "P031",
        "caseless-cascade",
        "error",
        "The source deleted or changed child rows without logging it, and found them by a collation"
        " for which 'abc' is 'ABC'. Some of these rows refer to their parent in another spelling,"
        " so that it is not known which ones it found.",
        "make child and parent rows agree in the source, then: dbbridge tables resync TABLE",
    ),
    Code(
        "P014",
        "too-many-bad-rows",
        "error",
        "So many rows went to quarantine that the mapping is more likely wrong than the rows.",
        "give the column a policy or another type, then: dbbridge tables resync TABLE",
    ),
    Code(
        "P015",
        "row-not-found",
        "error",
        "A row of a table without a key is to be deleted, and the target has no such row: somebody"
        " else wrote there, or the copy was not of the position that was noted.",
        _RESYNC,
    ),
    Code(
        "P016",
        "needs-brief-lock",
        "error",
        "A table without a key is copied from one snapshot at an exact position, which MySQL gives"
        " only under a lock of some milliseconds on that table.",
        "write copy: {lock: brief} into the mapping file, or add a primary key",
    ),
    Code(
        "P017",
        "needs-transactions",
        "error",
        "A table without a key is copied from a snapshot, and its engine has none.",
        "give the table a primary key, or make it an InnoDB table",
    ),
    Code(
        "P018",
        "lock-timeout",
        "error",
        "Writers did not let the table go in time for the short lock of its copy. Nobody was kept"
        " waiting for longer.",
        "look for long transactions on it, then: dbbridge tables resume TABLE",
    ),
    Code(
        "P030",
        "needs-replica-log",
        "error",
        "Rows without a key are copied from a snapshot whose position is known exactly. MariaDB"
        " tells it by the server's own log, into which this replica does not write what it gets.",
        "set log_bin and log_slave_updates=ON on the replica, or take copy_from out of bridge.yaml",
    ),
    Code(
        "P032",
        "snapshot-restarted",
        "error",
        "Debezium's connector began anew, with another snapshot. What changed before that and after"
        " its end is not in Kafka: rows that were deleted would stay in the target, for one.",
        "dbbridge tables resync TABLE",
    ),
    Code(
        "P042",
        "definitions-lost",
        "error",
        "The connector's topic of changed definitions was deleted, or its next messages expired"
        " before they were read: nobody knows which tables' definitions changed.",
        "keep messages for longer (retention.ms of the topic that is named as topic.prefix), then:"
        " dbbridge init, dbbridge tables resync TABLE",
    ),
    Code(
        "P033",
        "truncated",
        "error",
        "The table was emptied, and its topic has several partitions: nobody knows which "
        "changes came before that and which after.",
        "dbbridge tables resync TABLE",
    ),
    Code(
        "P034",
        "offset-gone",
        "error",
        "The topic does not have the messages any more that come next: they were deleted before "
        "they were applied.",
        "keep messages for longer (retention.ms of the topic), then: dbbridge tables resync TABLE",
    ),
    Code(
        "P035",
        "topic-gone",
        "error",
        "The table's topic was deleted.",
        "let the connector make it again, then: dbbridge tables resync TABLE",
    ),
    Code(
        "P036",
        "topic-recreated",
        "error",
        "The table's topic was deleted and made again: what was in the old one and not yet "
        "applied is lost.",
        "dbbridge tables resync TABLE",
    ),
    Code(
        "P037",
        "partitions-changed",
        "error",
        "The table's topic has another number of partitions than before. A row's changes may "
        "then stand in two of them, which are read in no order.",
        "dbbridge tables resync TABLE, once all that was written before is applied",
    ),
    Code(
        "P038",
        "keyless-in-partitions",
        "error",
        "A table without a key needs a topic with one partition: several give its rows in no "
        "order, and no key tells which ones belong together.",
        "name a unique NOT NULL key in the mapping file, or have the topic made with one partition",
    ),
    Code(
        "P040",
        "keyless-repeated",
        "error",
        "When Connect or a broker dies, a connector writes events again unless Connect does it "
        "exactly once. Where rows have a key that heals by itself; without one they are doubled.",
        "set exactly.once.source.support=enabled in Connect's workers and exactly.once.support="
        "required in the connector, or name a unique NOT NULL key in the mapping file",
    ),
    Code(
        "P039",
        "cascade-not-captured",
        "error",
        "The source does not log what its foreign keys do to child rows, and Debezium's events "
        "do not tell that something was done.",
        "take the pipeline's changes from the log (capture: {kind: binlog}), or leave the "
        "tables out",
    ),
    Code(
        "P019",
        "snapshot-differs",
        "error",
        "The same snapshot gave other rows when they were read again, which must not be.",
        "please report it",
    ),
    Code(
        "P020",
        "source-warning",
        "error",
        "The source warned while rows were read: a value may come out otherwise than it is stored.",
        "look at the warning in `dbbridge status`, and at the filter and types in the mapping file",
    ),
    Code(
        "P021",
        "no-target",
        "error",
        "The target does not have the table.",
        "dbbridge schema apply, then: dbbridge tables resume TABLE",
    ),
    Code(
        "P022",
        "target-not-empty",
        "error",
        "A table that is to be copied holds rows already. They would be doubled, or mixed with"
        " other ones.",
        "empty the target's table if the rows may go, then: dbbridge tables resume TABLE",
    ),
    Code(
        "P023",
        "index-failed",
        "error",
        "An index could not be built in the target after the copy.",
        "mend the rows, or list the index under not_carried, then: dbbridge tables resume TABLE",
    ),
    Code(
        "P024",
        "keyless-in-cascade",
        "error",
        "A table without a key is tied to others by cascading foreign keys: what a cascade does to"
        " its rows cannot be carried out.",
        "name a unique NOT NULL key in its mapping file, or leave the table out",
    ),
    Code(
        "P043",
        "xa",
        "error",
        "An XA transaction that was prepared and committed apart changed the table. The log has its"
        " rows where it was prepared, before anybody sees them; they may still be rolled back.",
        "commit or roll back what XA RECOVER shows on the source, then: dbbridge tables resync"
        " TABLE",
    ),
    Code(
        "P041",
        "family-apart",
        "error",
        "Cascading foreign keys tie the new table to tables that were copied before, and the source"
        " does not log what they do. Copied alone, it would keep rows that a cascade deletes before"
        " it has joined the others; these go on without it.",
        "to copy all of them together: dbbridge tables resync TABLE",
    ),
    Code(
        "P025",
        "swap-refused",
        "error",
        "The table was copied again, but the old one cannot be replaced: something in the target"
        " depends on it.",
        "drop what hangs on it, then: dbbridge tables resume TABLE",
    ),
    Code(
        "P026",
        "purged",
        "error",
        "The source has purged the part of its binary log that comes after the table's frontier."
        " What changed there is lost to the stream.",
        "keep the log for longer (binlog_expire_logs_seconds), then: dbbridge tables resync TABLE",
    ),
    Code(
        "P027",
        "source-replaced",
        "error",
        "The source is another server, or its log began anew: the table's frontier means nothing"
        " there, or rows were copied of commits that it does not have.",
        "dbbridge tables resync TABLE",
    ),
    Code(
        "P028",
        "unknown-event",
        "error",
        "A message of the table's topic is none that Debezium's connector writes under the settings"
        " that are known. It may be a change, so it is not passed over.",
        "compare the connector's configuration with the pipeline's: dbbridge check, then: dbbridge"
        " tables resync TABLE",
    ),
    Code(
        "P029",
        "connector-loses-values",
        "error",
        "Under its settings the connector does not keep the values of one of the table's columns.",
        "change the connector's settings, have it make its snapshot anew, then: dbbridge tables"
        " resync TABLE",
    ),
)

BAD_ROWS = (
    Code(
        "Q001",
        "out-of-range",
        "warning",
        "The value is beyond what the target's type holds.",
        "choose a wider target type, or out_of_range: clamp or as-null",
    ),
    Code(
        "Q002",
        "ambiguous-time",
        "warning",
        "The column's times are read in a zone which has this one twice, or never: the clocks were"
        " set back or forward.",
        "choose ambiguous: earlier or later",
    ),
    Code(
        "Q003",
        "unknown-label",
        "warning",
        "The row holds a number for which the enum or set has no label.",
        "mend the row in the source",
    ),
    Code(
        "Q004",
        "invalid-text",
        "warning",
        "The bytes are no text in the column's character set.",
        "mend the row in the source, or choose invalid: replace",
    ),
    Code(
        "Q005",
        "nul-character",
        "warning",
        "The text holds the character NUL (U+0000), which PostgreSQL's text and jsonb cannot.",
        "choose nul: strip or nul: replace:TEXT",
    ),
    Code(
        "Q006",
        "too-long",
        "warning",
        "The text is longer than the target's varchar.",
        "choose a longer varchar, or text",
    ),
    Code(
        "Q007",
        "invalid-json",
        "warning",
        "The text is no JSON that PostgreSQL takes.",
        "mend the row in the source, or choose the target type text",
    ),
    Code(
        "Q008",
        "null",
        "warning",
        "The value is NULL, or became NULL by a policy, and the target's column is NOT NULL.",
        "let the target column be null in the mapping file",
    ),
    Code(
        "Q009",
        "refused",
        "warning",
        "PostgreSQL refused the row; the code behind the word is its SQLSTATE (manual, Appendix"
        " A).",
        "`dbbridge quarantine show` tells what PostgreSQL said",
    ),
    Code(
        "Q010",
        "unavailable-value",
        "warning",
        "The event does not hold the value: the source had not logged it, and Debezium sent its"
        " placeholder.",
        "set binlog_row_image=FULL on the source; the row's next change supersedes the entry",
    ),
    Code(
        "Q011",
        "row-too-large",
        "warning",
        "The row is larger than 64 MB.",
        "leave the column with the large values out ({type: dropped, reason: …}), or shorten them",
    ),
    Code(
        "Q012",
        "mangled-text",
        "warning",
        "Debezium sent a JSON document with U+FFFD in it, which stands for characters that were"
        " lost: its JVM reads the names of members by its locale unless told otherwise.",
        "start Kafka Connect's workers with -Dfile.encoding=UTF-8 (KAFKA_OPTS; Java 18 needs none)."
        " `dbbridge quarantine retry` reads the row from the source",
    ),
)
