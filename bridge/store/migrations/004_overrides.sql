-- Limits that operators change while things run.

CREATE TABLE dbbridge.overrides (
    pipeline text NOT NULL,
    name     text NOT NULL,
    value    text NOT NULL,
    until    timestamptz,
    set_at   timestamptz NOT NULL DEFAULT now(),
    set_by   text NOT NULL DEFAULT current_user,
    PRIMARY KEY (pipeline, name)
);
COMMENT ON TABLE dbbridge.overrides IS
    'Values that hold instead of those of bridge.yaml until a time (NULL: until they are unset).';

ALTER TABLE dbbridge.verifications ADD COLUMN throttled text NOT NULL DEFAULT '';
COMMENT ON COLUMN dbbridge.verifications.throttled IS
    'Why its sweeps wait at the moment; empty if they do not.';
