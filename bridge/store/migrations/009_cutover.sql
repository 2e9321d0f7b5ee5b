-- Cutovers: how far the switch of each group of tables has come, who is at it, and what was waived.

CREATE TABLE dbbridge.cutovers (
    pipeline       text NOT NULL REFERENCES dbbridge.pipeline ON DELETE CASCADE,
    grp            text NOT NULL,
    state          text NOT NULL DEFAULT 'source-primary' CONSTRAINT a_state_is_known CHECK (state IN (
        'source-primary', 'arming', 'armed', 'disarming', 'fencing', 'draining', 'checking',
        'sequencing', 'aborting', 'flipping', 'target-primary', 'reverse-fencing',
        'reverse-draining', 'reverse-checking', 'reverse-sequencing', 'reverse-aborting',
        'reverse-flipping', 'completing', 'completed')),
    attempt        bigint NOT NULL DEFAULT 0,
    operator       text NOT NULL DEFAULT '',
    taken_at       timestamptz,
    plan           text NOT NULL DEFAULT '',
    deadline       timestamptz,
    began_at       timestamptz,
    changed_at     timestamptz NOT NULL DEFAULT now(),
    evidence       jsonb NOT NULL DEFAULT '{}',
    error          text,
    scheduled_at   timestamptz,
    scheduled_by   text NOT NULL DEFAULT '',
    scheduled_plan text NOT NULL DEFAULT '',
    PRIMARY KEY (pipeline, grp),
    CONSTRAINT what_is_under_way_is_not_announced
        CHECK (scheduled_at IS NULL OR state IN ('source-primary', 'arming', 'armed'))
);
COMMENT ON TABLE dbbridge.cutovers IS
    'One row a group of tables: the journal. A state is committed before anything is done in it. '
    'Who changes it holds a session''s advisory lock, and is still at the attempt that he counted.';
COMMENT ON COLUMN dbbridge.cutovers.evidence IS
    'What was changed, to undo it: added to, never replaced, until it is undone.';
COMMENT ON COLUMN dbbridge.cutovers.deadline IS
    'When what is under way is to be over; some seconds later the operator''s session may be ended.';

CREATE FUNCTION dbbridge.cutover_key(of_pipeline text, of_group text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT hashtextextended('dbbridge:cutover:' || of_pipeline || ':' || of_group, 0)
$$;
COMMENT ON FUNCTION dbbridge.cutover_key IS 'The advisory lock of whoever is at a group''s cutover.';

CREATE TABLE dbbridge.cutover_steps (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline text NOT NULL REFERENCES dbbridge.pipeline ON DELETE CASCADE,
    grp      text NOT NULL,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempt  bigint NOT NULL,
    operator text NOT NULL,
    before   text NOT NULL,
    event    text NOT NULL,
    after    text NOT NULL,
    seconds  double precision NOT NULL,
    detail   jsonb NOT NULL
);
CREATE INDEX cutover_steps_by_group ON dbbridge.cutover_steps (pipeline, grp, id);
COMMENT ON TABLE dbbridge.cutover_steps IS
    'What happened to each group: transitions, operators who took over (taken), errors (failed). '
    'Seconds are those that the state before had lasted.';

CREATE TABLE dbbridge.waivers (
    pipeline text NOT NULL REFERENCES dbbridge.pipeline ON DELETE CASCADE,
    grp      text NOT NULL,
    gate     text NOT NULL,
    reason   text NOT NULL CONSTRAINT a_waiver_has_a_reason CHECK (btrim(reason) <> ''),
    evidence text NOT NULL,
    by       text NOT NULL,
    at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (pipeline, grp, gate)
);
COMMENT ON TABLE dbbridge.waivers IS
    'Gates that do not hinder the next switch of a group, as long as what they found (evidence, a '
    'fingerprint) is what was waived.';
