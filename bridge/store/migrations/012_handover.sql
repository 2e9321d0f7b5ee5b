-- Tables that the source no longer has authority over: the stream watches them and applies nothing.

ALTER TABLE dbbridge.tables DROP CONSTRAINT tables_stage_check;
ALTER TABLE dbbridge.tables ADD CONSTRAINT tables_stage_check
    CHECK (stage IN ('new', 'copying', 'catching-up', 'streaming', 'switched'));
ALTER TABLE dbbridge.tables ADD CONSTRAINT a_switched_table_has_no_frontier
    CHECK (stage <> 'switched' OR (frontier IS NULL AND NOT paused AND error_code IS NULL));
ALTER TABLE dbbridge.tables ADD COLUMN violations bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN dbbridge.tables.violations IS
    'Row changes by somebody who went around the fence while the target had authority.';
ALTER TABLE dbbridge.tables ADD COLUMN marker bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN dbbridge.tables.marker IS
    'The marker in the source''s log that put the table into its stage, switched or streaming.';
