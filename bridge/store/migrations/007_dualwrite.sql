-- Dual writes: who has authority over a group of tables, and which operations have been applied.

CREATE TABLE dbbridge.authority (
    pipeline      text NOT NULL REFERENCES dbbridge.pipeline ON DELETE CASCADE,
    grp           text NOT NULL,
    epoch         bigint NOT NULL DEFAULT 1,
    authority     text NOT NULL DEFAULT 'source' CHECK (authority IN ('source', 'target', 'closed')),
    mode          text NOT NULL DEFAULT 'cdc' CHECK (mode IN ('cdc', 'shadow', 'provisional')),
    reads_percent integer NOT NULL DEFAULT 0 CHECK (reads_percent BETWEEN 0 AND 100),
    changed_at    timestamptz NOT NULL DEFAULT now(),
    changed_by    text NOT NULL DEFAULT current_user,
    PRIMARY KEY (pipeline, grp)
);
COMMENT ON TABLE dbbridge.authority IS
    'One row a group of tables: the target''s epoch. Writers hold it by a shared advisory lock, '
    'taken in a statement of its own before the row is read.';

CREATE TABLE dbbridge.ops (
    pipeline text PRIMARY KEY REFERENCES dbbridge.pipeline ON DELETE CASCADE,
    pruned   bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE dbbridge.ops IS
    'Operations up to this number are forgotten: a provisional write of one of them is refused.';

CREATE TABLE dbbridge.applied_ops (
    op_id      uuid PRIMARY KEY,
    pipeline   text NOT NULL,
    seq        bigint NOT NULL,
    confirmed  boolean NOT NULL,
    writer     xid,
    applied_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX applied_ops_by_number ON dbbridge.applied_ops (pipeline, seq);
CREATE INDEX unconfirmed_ops ON dbbridge.applied_ops (pipeline, applied_at) WHERE NOT confirmed;
COMMENT ON TABLE dbbridge.applied_ops IS
    'Operations claimed by a provisional write (until the stream confirms them) or by the stream.';
COMMENT ON COLUMN dbbridge.applied_ops.applied_at IS
    'When it was claimed last: what the stream confirmed is remembered from then on.';
COMMENT ON COLUMN dbbridge.applied_ops.writer IS
    'The transaction of the provisional write: rows that have it as their xmin were written before '
    'the stream brought them.';

CREATE FUNCTION dbbridge.claim(
    of_pipeline text, groups text[], epochs bigint[], op uuid, number bigint,
    schemas text[], tables text[]
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(
        hashtextextended('dbbridge:authority:' || of_pipeline || ':' || g.grp, 0))
    FROM unnest(groups) AS g (grp);
    PERFORM 1
    FROM unnest(groups, epochs) AS g (grp, epoch)
    LEFT JOIN dbbridge.authority a ON a.pipeline = of_pipeline AND (a.grp, a.epoch) = (g.grp, g.epoch)
         AND a.authority = 'source' AND a.mode = 'provisional'
    WHERE a.grp IS NULL;
    IF FOUND OR cardinality(groups) = 0 THEN
        RAISE EXCEPTION 'the epoch is another one by now' USING ERRCODE = 'DBW01';
    END IF;
    PERFORM 1 FROM dbbridge.ops o WHERE o.pipeline = of_pipeline AND o.pruned < number;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the operation is older than what is remembered' USING ERRCODE = 'DBW02';
    END IF;
    PERFORM 1
    FROM unnest(schemas, tables) AS named (source_schema, source_table)
    LEFT JOIN dbbridge.tables t ON t.pipeline = of_pipeline
         AND (t.source_schema, t.source_table) = (named.source_schema, named.source_table)
    WHERE t.pipeline IS NULL OR t.stage <> 'streaming' OR t.paused OR t.error_code IS NOT NULL
       OR EXISTS (SELECT 1 FROM dbbridge.quarantine q
                  WHERE q.pipeline = of_pipeline
                    AND (q.source_schema, q.source_table) = (t.source_schema, t.source_table));
    IF FOUND THEN
        RAISE EXCEPTION 'a table is copied, paused, stopped or in quarantine'
            USING ERRCODE = 'DBW03';
    END IF;
    INSERT INTO dbbridge.applied_ops (op_id, pipeline, seq, confirmed, writer)
    VALUES (op, of_pipeline, number, false, pg_current_xact_id()::xid) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the operation is applied already' USING ERRCODE = 'DBW04';
    END IF;
END $$;
COMMENT ON FUNCTION dbbridge.claim IS
    'The first statement of a provisional write, at READ COMMITTED; raises DBW01 to DBW04 where the '
    'write must not be made. The stream will bring the operation then.';
REVOKE ALL ON FUNCTION dbbridge.claim FROM PUBLIC;

CREATE FUNCTION dbbridge.hold(of_pipeline text, of_group text, with_epoch bigint)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- A later snapshot than the lock's is needed, which only this level takes.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'writes of the bridge run at READ COMMITTED' USING ERRCODE = 'DBW05';
    END IF;
    PERFORM pg_advisory_xact_lock_shared(
        hashtextextended('dbbridge:authority:' || of_pipeline || ':' || of_group, 0));
    PERFORM 1 FROM dbbridge.authority a
    WHERE a.pipeline = of_pipeline AND a.grp = of_group AND a.epoch = with_epoch
      AND a.authority = 'target';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the epoch is another one by now' USING ERRCODE = 'DBW01';
    END IF;
END $$;
COMMENT ON FUNCTION dbbridge.hold IS
    'The last statement before the commit of a write while the target has authority, at READ '
    'COMMITTED; raises DBW01 where it has not, or in another epoch, DBW05 at another level.';
REVOKE ALL ON FUNCTION dbbridge.hold FROM PUBLIC;

CREATE VIEW dbbridge.authority_now AS
SELECT pipeline, grp, epoch, authority, mode, reads_percent FROM dbbridge.authority;
COMMENT ON VIEW dbbridge.authority_now IS 'For applications in any language: who has authority.';
