-- Where the source's log was read to: by coordinates a server finds the place at once, while for a
-- GTID it reads the file from its beginning.

ALTER TABLE dbbridge.proofs ADD COLUMN log_server text NOT NULL DEFAULT '';
COMMENT ON COLUMN dbbridge.proofs.log_server IS
    'The server whose log was read up to the position, file and offset included; empty: the '
    'coordinates may be other ones than the GTIDs''.';
