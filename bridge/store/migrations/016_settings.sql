-- Settings that the rules of dual writes rest on, whatever the sessions or their roles have.

CREATE OR REPLACE FUNCTION dbbridge.hold(of_pipeline text, of_group text, with_epoch bigint)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- A later snapshot than the lock's is needed, which only this level takes.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'writes of the bridge run at READ COMMITTED' USING ERRCODE = 'DBW05';
    END IF;
    -- No other side has the write: what is acknowledged is on disk, and where a standby is to be.
    IF current_setting('synchronous_commit') IN ('off', 'local') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
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
    'COMMITTED; raises DBW01 where it has not, or in another epoch, DBW05 at another level. The '
    'commit is durable whatever synchronous_commit was.';

CREATE OR REPLACE FUNCTION dbbridge.claim_all(
    of_pipeline text, groups text[], epochs bigint[], ops uuid[], numbers bigint[],
    schemas text[], tables text[]
) RETURNS SETOF uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- As in dbbridge.hold: the rows are read after the lock is had.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'writes of the bridge run at READ COMMITTED' USING ERRCODE = 'DBW05';
    END IF;
    PERFORM pg_advisory_xact_lock_shared(
        hashtextextended('dbbridge:authority:' || of_pipeline || ':' || g.grp, 0))
    FROM (SELECT DISTINCT grp FROM unnest(groups) AS u (grp) ORDER BY grp) AS g;
    PERFORM 1
    FROM unnest(groups, epochs) AS g (grp, epoch)
    LEFT JOIN dbbridge.authority a ON a.pipeline = of_pipeline AND (a.grp, a.epoch) = (g.grp, g.epoch)
         AND a.authority = 'source' AND a.mode = 'provisional'
    WHERE a.grp IS NULL;
    IF FOUND OR cardinality(groups) = 0 THEN
        RAISE EXCEPTION 'the epoch is another one by now' USING ERRCODE = 'DBW01';
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
    RETURN QUERY
    INSERT INTO dbbridge.applied_ops AS a (op_id, pipeline, seq, confirmed, writer)
    SELECT n.op, of_pipeline, n.number, false, pg_current_xact_id()::xid
    FROM unnest(ops, numbers) AS n (op, number)
    WHERE n.number > (SELECT o.pruned FROM dbbridge.ops o WHERE o.pipeline = of_pipeline)
    ORDER BY n.op ON CONFLICT DO NOTHING RETURNING a.op_id;
END $$;
COMMENT ON FUNCTION dbbridge.claim_all IS
    'As dbbridge.claim, for several operations: those that are claimed now, without those that were '
    'applied before or are older than what is remembered. Only rows of these may be written. Raises '
    'DBW05 at another level than READ COMMITTED.';
