-- Reverse replication: rows that the source cannot hold, and replica identities to be given back.

CREATE TABLE dbbridge.reverse_unrepresentable (
    pipeline      text NOT NULL REFERENCES dbbridge.pipeline ON DELETE CASCADE,
    grp           text NOT NULL,
    source_schema text NOT NULL,
    source_table  text NOT NULL,
    key           bytea NOT NULL,
    digest        bytea NOT NULL,
    lsn           pg_lsn NOT NULL,
    superseded    pg_lsn,
    code          text NOT NULL,
    column_name   text NOT NULL,
    value         text NOT NULL,
    image         json NOT NULL,
    gone          boolean NOT NULL,
    since         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (pipeline, grp, source_schema, source_table, digest, lsn)
);
COMMENT ON TABLE dbbridge.reverse_unrepresentable IS
    'Rows of the target whose image the source cannot hold, from the change at lsn on. While there '
    'is one, the way back is closed. digest is the SHA-256 of the key, whose text is COPY''s.';
COMMENT ON COLUMN dbbridge.reverse_unrepresentable.superseded IS
    'A later change made the row good or removed it; it goes once the source has committed that.';
COMMENT ON COLUMN dbbridge.reverse_unrepresentable.image IS
    'Text of the columns by their names in the target; those that are left out did not change.';
COMMENT ON COLUMN dbbridge.reverse_unrepresentable.gone IS
    'The source has no row of this key, whose other columns could be as they were.';

CREATE TABLE dbbridge.reverse_identities (
    pipeline      text NOT NULL REFERENCES dbbridge.pipeline ON DELETE CASCADE,
    grp           text NOT NULL,
    target_schema text NOT NULL,
    target_table  text NOT NULL,
    identity      text NOT NULL,
    PRIMARY KEY (pipeline, grp, target_schema, target_table)
);
COMMENT ON TABLE dbbridge.reverse_identities IS
    'The clause of REPLICA IDENTITY that a table had before it was made FULL.';
