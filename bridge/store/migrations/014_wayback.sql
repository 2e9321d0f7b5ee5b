-- The stream back to the source, as a cutover steers it and the daemon runs it.

CREATE TABLE dbbridge.way_back (
    pipeline text NOT NULL REFERENCES dbbridge.pipeline ON DELETE CASCADE,
    grp      text NOT NULL,
    slot     text NOT NULL,
    epoch    bigint NOT NULL DEFAULT 0,
    start    pg_lsn,
    status   jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (pipeline, grp)
);
COMMENT ON TABLE dbbridge.way_back IS
    'One row a group whose slot is made. What was committed before start is not sent back; the '
    'epoch is the one in which it may be applied. The status is what the daemon last said.';
