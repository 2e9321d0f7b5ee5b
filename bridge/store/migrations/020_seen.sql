-- What the reads of a copy may have seen: a server that takes the source's place must have it.

ALTER TABLE dbbridge.chunks ADD COLUMN seen text;
COMMENT ON COLUMN dbbridge.chunks.seen IS
    'GTIDs that cover all that was visible in the source when the chunk had been read; NULL: the '
    'source has none.';
