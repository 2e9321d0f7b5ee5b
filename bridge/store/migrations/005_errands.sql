-- A copy by workers: chunks that the daemon lets others read, and who is at them.

CREATE TABLE dbbridge.errands (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline      text NOT NULL,
    source_schema text NOT NULL,
    source_table  text NOT NULL,
    generation    integer NOT NULL,
    number        integer NOT NULL,
    epoch         bigint NOT NULL,
    worker        text NOT NULL DEFAULT '',
    session_pid   integer,
    session_began timestamptz,
    beat_at       timestamptz,
    tries         integer NOT NULL DEFAULT 0,
    error         text NOT NULL DEFAULT '',
    stop          jsonb,
    UNIQUE (pipeline, source_schema, source_table, generation, number),
    FOREIGN KEY (pipeline, source_schema, source_table, generation, number)
        REFERENCES dbbridge.chunks ON DELETE CASCADE
);
COMMENT ON TABLE dbbridge.errands IS
    'Chunks that workers may read, offered by the daemon of that epoch. Whoever reads one has its '
    'row in chunks locked in the transaction of the rows; the errand goes with that transaction.';
COMMENT ON COLUMN dbbridge.errands.session_pid IS
    'The session that reads: when it is gone, so is the worker; when beat_at is old, it is ended.';
COMMENT ON COLUMN dbbridge.errands.stop IS 'Why the table cannot go on: code, message, hint.';
