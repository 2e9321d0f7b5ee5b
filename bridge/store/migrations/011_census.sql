-- What the gates of a switch ask for: who writes, which instances are alive, how far proofs are behind.

CREATE TABLE dbbridge.writers (
    pipeline   text NOT NULL REFERENCES dbbridge.pipeline ON DELETE CASCADE,
    side       text NOT NULL CHECK (side IN ('source', 'target')),
    account    text NOT NULL,
    host       text NOT NULL,
    program    text NOT NULL,
    first_seen timestamptz NOT NULL DEFAULT now(),
    last_seen  timestamptz NOT NULL DEFAULT now(),
    statements bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (pipeline, side, account, host, program)
);
COMMENT ON TABLE dbbridge.writers IS
    'Accounts, hosts and programs that were seen to write. statements: how many, where the server '
    'counts them; else how often they were met.';
COMMENT ON COLUMN dbbridge.writers.program IS 'As its session calls itself; empty where that is not known.';

CREATE TABLE dbbridge.census (
    pipeline  text NOT NULL REFERENCES dbbridge.pipeline ON DELETE CASCADE,
    side      text NOT NULL CHECK (side IN ('source', 'target')),
    began_at  timestamptz NOT NULL DEFAULT now(),
    looked_at timestamptz NOT NULL DEFAULT now(),
    looks     bigint NOT NULL DEFAULT 0,
    unseen    text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (pipeline, side)
);
COMMENT ON TABLE dbbridge.census IS 'Since when writers are looked for on each side, and what is not seen there.';

CREATE TABLE dbbridge.instances (
    pipeline   text NOT NULL REFERENCES dbbridge.pipeline ON DELETE CASCADE,
    instance   uuid NOT NULL,
    host       text NOT NULL,
    pid        integer NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('layer', 'proxy')),
    epochs     jsonb NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (pipeline, instance)
);
COMMENT ON TABLE dbbridge.instances IS
    'Processes with a dual-write layer, and the epochs of the groups that each knows of. A row goes '
    'when its process ends in order.';

ALTER TABLE dbbridge.proofs
    ADD COLUMN changes       bigint NOT NULL DEFAULT 0,
    ADD COLUMN round_keys    bigint NOT NULL DEFAULT 0,
    ADD COLUMN round_seconds float8 NOT NULL DEFAULT 0;
COMMENT ON COLUMN dbbridge.proofs.changes IS
    'How many changes of the table had been applied when the proof was moved here.';
COMMENT ON COLUMN dbbridge.proofs.round_keys IS
    'How many keys were judged when it was last moved by any, and round_seconds how long that took.';
