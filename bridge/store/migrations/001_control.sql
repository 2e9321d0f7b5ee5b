-- The control schema: what the bridge knows, beside the data it moves, so that both commit together.

CREATE TABLE dbbridge.pipeline (
    name            text PRIMARY KEY,
    epoch           bigint NOT NULL DEFAULT 0,
    position_kind   text CHECK (position_kind IN ('mysql-gtid', 'mariadb-gtid', 'file')),
    position        text,
    position_file   text NOT NULL DEFAULT '',
    position_offset bigint NOT NULL DEFAULT 0,
    source_id       text NOT NULL DEFAULT '',
    source_time     timestamptz,
    applied_at      timestamptz,
    CONSTRAINT a_position_has_a_kind CHECK ((position IS NULL) = (position_kind IS NULL))
) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
COMMENT ON TABLE dbbridge.pipeline IS
    'One row a pipeline. Its epoch is the lease: every target transaction of the daemon checks it. '
    'Its position is the main stream''s, written in the transaction that applied the rows.';

CREATE TABLE dbbridge.daemon (
    pipeline    text PRIMARY KEY REFERENCES dbbridge.pipeline ON DELETE CASCADE,
    epoch       bigint NOT NULL,
    host        text NOT NULL,
    boot        text NOT NULL,
    pid         integer NOT NULL,
    backend     integer NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    renewed_at  timestamptz NOT NULL DEFAULT now(),
    status      jsonb NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE dbbridge.daemon IS 'Who holds the lease, and what it last said of itself.';

CREATE TABLE dbbridge.tables (
    pipeline        text NOT NULL REFERENCES dbbridge.pipeline ON DELETE CASCADE,
    source_schema   text NOT NULL,
    source_table    text NOT NULL,
    generation      integer NOT NULL DEFAULT 1,
    target_schema   text NOT NULL,
    target_table    text NOT NULL,
    stage           text NOT NULL DEFAULT 'new'
        CHECK (stage IN ('new', 'copying', 'catching-up', 'streaming')),
    paused          boolean NOT NULL DEFAULT false,
    error_code      text,
    error           text,
    hint            text,
    frontier_kind   text,
    frontier        text,
    frontier_file   text NOT NULL DEFAULT '',
    frontier_offset bigint NOT NULL DEFAULT 0,
    until_file      text,
    until_offset    bigint,
    planned         boolean NOT NULL DEFAULT false,
    indexed         boolean NOT NULL DEFAULT false,
    mapping         jsonb NOT NULL,
    version         text NOT NULL,
    rows_estimated  bigint NOT NULL DEFAULT 0,
    rows_copied     bigint NOT NULL DEFAULT 0,
    bytes_copied    bigint NOT NULL DEFAULT 0,
    inserts         bigint NOT NULL DEFAULT 0,
    updates         bigint NOT NULL DEFAULT 0,
    deletes         bigint NOT NULL DEFAULT 0,
    ddl             bigint NOT NULL DEFAULT 0,
    changed_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (pipeline, source_schema, source_table, generation),
    CONSTRAINT a_frontier_has_a_kind CHECK ((frontier IS NULL) = (frontier_kind IS NULL)),
    CONSTRAINT a_streaming_table_follows_the_pipeline
        CHECK (stage <> 'streaming' OR paused OR error_code IS NOT NULL OR frontier IS NULL)
);
COMMENT ON TABLE dbbridge.tables IS
    'One row a followed table and generation (a table copied again has two until the swap). '
    'A NULL frontier: the table is where the pipeline''s position is.';

CREATE TABLE dbbridge.chunks (
    pipeline      text NOT NULL,
    source_schema text NOT NULL,
    source_table  text NOT NULL,
    generation    integer NOT NULL,
    number        integer NOT NULL,
    lower         bytea[],
    upper         bytea[],
    done          boolean NOT NULL DEFAULT false,
    PRIMARY KEY (pipeline, source_schema, source_table, generation, number),
    FOREIGN KEY (pipeline, source_schema, source_table, generation)
        REFERENCES dbbridge.tables ON DELETE CASCADE
);
COMMENT ON TABLE dbbridge.chunks IS 'Planned chunks of a copy; done is set in the transaction of the rows.';

CREATE TABLE dbbridge.quarantine (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline      text NOT NULL,
    source_schema text NOT NULL,
    source_table  text NOT NULL,
    generation    integer NOT NULL,
    key           bytea NOT NULL,
    code          text NOT NULL,
    column_name   text NOT NULL,
    value         text NOT NULL,
    raw           bytea NOT NULL,
    met_at        text NOT NULL,
    since         timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT one_entry_a_key UNIQUE (pipeline, source_schema, source_table, generation, key),
    FOREIGN KEY (pipeline, source_schema, source_table, generation)
        REFERENCES dbbridge.tables ON DELETE CASCADE
);
COMMENT ON TABLE dbbridge.quarantine IS
    'Rows whose current image the target cannot hold, under COPY text of their key.';

CREATE TABLE dbbridge.discards (
    id            bigint PRIMARY KEY,
    pipeline      text NOT NULL,
    source_schema text NOT NULL,
    source_table  text NOT NULL,
    key           bytea NOT NULL,
    code          text NOT NULL,
    column_name   text NOT NULL,
    value         text NOT NULL,
    raw           bytea NOT NULL,
    met_at        text NOT NULL,
    reason        text NOT NULL CHECK (reason <> ''),
    discarded_by  text NOT NULL DEFAULT current_user,
    discarded_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE dbbridge.discards IS 'Quarantined rows that an operator gave up, with the reason.';

CREATE TABLE dbbridge.events (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline text NOT NULL,
    at       timestamptz NOT NULL DEFAULT now(),
    kind     text NOT NULL,
    subject  text NOT NULL DEFAULT '',
    message  text NOT NULL
);
CREATE INDEX events_by_time ON dbbridge.events (pipeline, at);
COMMENT ON TABLE dbbridge.events IS 'What happened: stops, takeovers, copies, operators'' acts.';

CREATE TABLE dbbridge.requests (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline     text NOT NULL,
    verb         text NOT NULL CHECK (verb IN ('pause', 'resume', 'resync', 'retry')),
    source_schema text NOT NULL,
    source_table text NOT NULL,
    argument     text NOT NULL DEFAULT '',
    requested_by text NOT NULL DEFAULT current_user,
    requested_at timestamptz NOT NULL DEFAULT now(),
    done_at      timestamptz,
    result       text
);
CREATE INDEX open_requests ON dbbridge.requests (pipeline, id) WHERE done_at IS NULL;
COMMENT ON TABLE dbbridge.requests IS 'What operators ask of the daemon; it answers in result.';
