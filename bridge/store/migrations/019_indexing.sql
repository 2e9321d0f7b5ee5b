-- Capture by Kafka: consumers leave a table out while its indexes are built.

ALTER TABLE dbbridge.tables ADD COLUMN indexing boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN dbbridge.tables.indexing IS
    'Its indexes are being built, or were when a process that led ended: no consumer takes its '
    'changes, and whoever leads next builds them.';
