"""K, from 20 on: what lies between the source and the bridge that captures through Kafka."""

from __future__ import annotations

from bridge.findings.base import Code

KAFKA = (
    Code(
        "K020",
        "connector-not-running",
        "error",
        "The connector, or its task, does not run: no change comes.",
        "mend what it says, then restart it with its tasks: POST"
        " /connectors/NAME/restart?includeTasks=true",
    ),
    Code(
        "K021",
        "connector-unknown",
        "error",
        "`dbbridge sync` asks Kafka Connect's REST interface how far the connector is; without it"
        " nobody knows whether everything has come.",
        "set pipeline.capture.connect: http://host:8083 and connector: NAME",
    ),
    Code(
        "K022",
        "topic-names",
        "error",
        "The connector calls topics otherwise than the bridge: PREFIX.DATABASE.TABLE, where PREFIX"
        " is pipeline.capture.topics and characters that Kafka does not take become underscores.",
        "leave topic.delimiter and topic.naming.strategy at their defaults, and remove"
        " transformations of names",
    ),
    Code(
        "K023",
        "table-not-captured",
        "error",
        "The connector's lists of databases and tables leave a carried table out: none of its"
        " changes would come.",
        "add it to table.include.list (or take it out of table.exclude.list), and let the bridge"
        " copy it",
    ),
    Code(
        "K024",
        "column-not-captured",
        "error",
        "The connector's lists of columns leave a carried column out.",
        "remove column.include.list and column.exclude.list, or give the column the type `dropped`"
        " in the mapping file",
    ),
    Code(
        "K025",
        "topic-missing",
        "warning",
        "The table has rows, the connector makes a snapshot and captures the table, but there is"
        " no topic for it: the snapshot was made before the table was captured, or is not done.",
        "wait for the snapshot; if it is done, let the bridge copy the table (snapshot: bridge), or"
        " ask the connector for an incremental snapshot",
    ),
    Code(
        "K026",
        "topic-collision",
        "error",
        "Two tables have one topic, since their names differ in characters that Kafka does not"
        " take: their rows are mixed, and the connector says nothing. Or the names of two topics"
        " differ in a dot and an underscore alone: Kafka refuses the second one, and the connector"
        " fails.",
        "rename one of the tables, or leave one of them out of the connector's table.include.list",
    ),
    Code(
        "K027",
        "keyless-in-topic",
        "error",
        "The messages of a table without a key have no order if its topic has several partitions.",
        "name a unique NOT NULL key in its mapping file, or have the topic made with one partition",
    ),
    Code(
        "K028",
        "key-in-topic",
        "error",
        "The topic has several partitions, and messages have another key than the target's table:"
        " changes of one row may stand in different partitions, which are read in no order.",
        "give the topic one partition, or set message.key.columns to the key of the mapping file",
    ),
    Code(
        "K029",
        "unique-in-partitions",
        "warning",
        "The topic has several partitions, which are applied in no order between them: for a moment"
        " two rows may have the same unique value. Secondary unique indexes are therefore not built"
        " before the cutover, whose gate planner asks for them.",
        "nothing to do; with one partition they are unique from the beginning",
    ),
    Code(
        "K030",
        "topic-retention",
        "warning",
        "Messages are deleted after less than two days, or beyond few bytes. If a copy or a pause"
        " lasts longer, the tables concerned have to be copied again.",
        "set retention.ms of the topic to 604800000 (a week) and retention.bytes to -1",
    ),
    Code(
        "K031",
        "topic-compacted",
        "warning",
        "The topic is compacted. A reader that is behind by more than delete.retention.ms never"
        " sees some deletes, and nothing tells it: such rows stay in the target. Messages without a"
        " key are refused by such topics.",
        "set cleanup.policy=delete, or delete.retention.ms to 604800000 (a week)",
    ),
    Code(
        "K032",
        "topic-replicas",
        "info",
        "An acknowledged message is on one broker alone (replication factor 1, or"
        " min.insync.replicas 1): if that one is lost, so is the change. Unclean elections lose"
        " changes as well.",
        "replication factor 3, min.insync.replicas 2, unclean.leader.election.enable=false",
    ),
    Code(
        "K033",
        "large-rows",
        "error",
        "The event of an update holds the row twice. One that is larger than the connector's"
        " producer, or the topic, takes makes its task fail.",
        "set producer.override.max.request.size of the connector, and max.message.bytes of the"
        " topic, to more than that",
    ),
    Code(
        "K034",
        "dates-that-stop",
        "error",
        "Debezium's task fails at a change of a row that holds a day which its month has not"
        " (2023-02-31), in any table of the server, be it captured or not. Only a connector that"
        " begins anew gets past.",
        "mend the rows, and remove ALLOW_INVALID_DATES from sql_mode",
    ),
    Code(
        "K035",
        "cascade-unseen",
        "error",
        "The source does not log the rows that a foreign key deletes or changes (MariaDB, and MySQL"
        " before 9.6 or with innodb_native_foreign_keys), and Debezium's events do not tell whether"
        " it did: nobody knows which child rows are gone.",
        "read the source's log (capture: {kind: binlog}), which does tell; or remove the foreign"
        " key's action",
    ),
    Code(
        "K036",
        "producer-acks",
        "error",
        "The connector's producer does not wait until a message is safe (acks): changes may be lost"
        " when a broker is.",
        "remove producer.override.acks (and producer.acks of the worker): the default is all",
    ),
    Code(
        "K037",
        "connector-heartbeat",
        "warning",
        "Without heartbeats the connector's position stays behind while nothing is written to the"
        " captured tables: waits, and `verify`, do not come to an end, and the source may purge"
        " what the connector wants to read again.",
        "set heartbeat.interval.ms=1000",
    ),
    Code(
        "K038",
        "connector-snapshot",
        "warning",
        "The connector's snapshot.mode does not go with the pipeline. What is deleted while no"
        " position is known has no event: after a snapshot that replaces a lost position, rows that"
        " are gone stay in the target.",
        "snapshot.mode=no_data if the bridge copies the tables (snapshot: bridge), else initial",
    ),
    Code(
        "K039",
        "session-formats",
        "info",
        "These accounts may set binlog_format, binlog_row_image, binlog_row_value_options and"
        " sql_log_bin for their sessions. Of partial JSON the connector drops the updates, at"
        " partial rows it fails, and both happen without a sign in the server's settings.",
        "make sure that they do not while the bridge runs; verification finds what was missed",
    ),
    Code(
        "K040",
        "topic-unreadable",
        "warning",
        "The account may not look at the topics' settings, so retention, compaction and the size"
        " of messages are not known.",
        "kafka-acls --add --allow-principal User:NAME --operation DescribeConfigs --topic PREFIX"
        " --resource-pattern-type prefixed",
    ),
    Code(
        "K041",
        "kafka-rights",
        "error",
        "The bridge's consumers read the tables' topics and the one of changed definitions (which"
        " is called as they begin), and join a group: the account needs Read on both.",
        "run the lines as an administrator of the cluster",
    ),
    Code(
        "K042",
        "connector-position",
        "error",
        "The connector's position does not go with the pipeline's source: it reads another server,"
        " or the source has purged what it wants to read next.",
        "name one server in database.hostname and in bridge.yaml; after a purge, begin the"
        " connector and the copies anew",
    ),
    Code(
        "K043",
        "keyless-at-least-once",
        "error",
        "When Connect or a broker dies, the connector writes events again. Where rows have a key"
        " that heals by itself; without one they would be doubled.",
        "set exactly.once.source.support=enabled in Connect's workers and exactly.once.support="
        "required in the connector, or name a unique NOT NULL key in the mapping file",
    ),
)
