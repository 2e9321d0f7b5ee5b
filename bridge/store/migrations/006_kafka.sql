-- Capture by Kafka: how far the target is by each partition, and who may write by it.

CREATE TABLE dbbridge.partitions (
    pipeline      text NOT NULL,
    topic         text NOT NULL,
    partition     integer NOT NULL,
    generation    integer NOT NULL,
    source_schema text NOT NULL,
    source_table  text NOT NULL,
    topic_id      text NOT NULL,
    next_offset   bigint NOT NULL,
    epoch         bigint NOT NULL DEFAULT 0,
    holder        text NOT NULL DEFAULT '',
    session_pid   integer,
    session_began timestamptz,
    base_kind     text,
    base          text,
    base_file     text NOT NULL DEFAULT '',
    base_offset   bigint NOT NULL DEFAULT 0,
    past          boolean NOT NULL DEFAULT false,
    snapshot      text NOT NULL DEFAULT '',
    source_time   timestamptz,
    applied_at    timestamptz,
    PRIMARY KEY (pipeline, topic, partition, generation),
    FOREIGN KEY (pipeline, source_schema, source_table, generation)
        REFERENCES dbbridge.tables ON DELETE CASCADE
) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
COMMENT ON TABLE dbbridge.partitions IS
    'One row a partition of a table''s topic and generation of the table. Everything before '
    'next_offset is in the target; it is written in the transaction that applied the messages, '
    'which has the row locked and requires the epoch that it was given.';
COMMENT ON COLUMN dbbridge.partitions.holder IS 'The consumer that may write; empty: none since the epoch rose.';
COMMENT ON COLUMN dbbridge.partitions.base IS
    'The position where the table''s copy began; events up to there are in it. NULL: there was none.';
COMMENT ON COLUMN dbbridge.partitions.past IS 'Events up to the base lie behind.';
COMMENT ON COLUMN dbbridge.partitions.snapshot IS
    'The initial snapshot of the connector that rows came from (file:position); another one means '
    'that it started over.';

CREATE TABLE dbbridge.notices (
    pipeline    text PRIMARY KEY REFERENCES dbbridge.pipeline ON DELETE CASCADE,
    topic       text NOT NULL,
    next_offset bigint NOT NULL,
    snapshot    text NOT NULL
);
COMMENT ON COLUMN dbbridge.notices.snapshot IS
    'The connector''s latest snapshot of definitions (file:position), with ? before it until the topic was '
    'read that far; another one means that the connector began anew.';
COMMENT ON TABLE dbbridge.notices IS
    'How far the connector''s topic of changed definitions was read by the process that leads.';
