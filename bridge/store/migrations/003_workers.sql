-- Verification spread over workers: who holds a part is known by his session, so that a part whose
-- worker died is free at once.

ALTER TABLE dbbridge.verifications ADD COLUMN scheduled boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN dbbridge.verifications.scheduled IS
    'Begun and finished by workers, without anybody who waits for it.';

ALTER TABLE dbbridge.verification_parts
    ADD COLUMN session_pid   integer,
    ADD COLUMN session_began timestamptz,
    ADD COLUMN tries         integer NOT NULL DEFAULT 0,
    ADD COLUMN error         text NOT NULL DEFAULT '';
COMMENT ON COLUMN dbbridge.verification_parts.session_pid IS
    'The session under which the worker claimed it: when that is gone, so is the worker.';
COMMENT ON COLUMN dbbridge.verification_parts.tries IS
    'How often it was begun since the last time that it came further; error: why that failed.';

CREATE FUNCTION dbbridge.session_lives(pid integer, began timestamptz) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM pg_catalog.pg_stat_activity a
        -- When another role's session began is not shown to everybody.
        WHERE a.pid = $1 AND ($2 IS NULL OR a.backend_start IS NULL OR a.backend_start = $2))
$$;
COMMENT ON FUNCTION dbbridge.session_lives IS 'Whether a session of this server is still there.';
