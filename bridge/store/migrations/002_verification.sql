-- What verification knows: runs that can go on where they were, and what is proven of each table.

CREATE TABLE dbbridge.verifications (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline    text NOT NULL REFERENCES dbbridge.pipeline ON DELETE CASCADE,
    level       text NOT NULL CHECK (level IN ('counts', 'checksums', 'values')),
    certify     boolean NOT NULL,
    via         text NOT NULL CHECK (via IN ('local', 'celery')),
    started_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    verdict     text CHECK (verdict IN ('match', 'mismatch', 'inconclusive'))
);
COMMENT ON TABLE dbbridge.verifications IS 'Each run of verify.';

CREATE TABLE dbbridge.verification_parts (
    verification  bigint NOT NULL REFERENCES dbbridge.verifications ON DELETE CASCADE,
    source_schema text NOT NULL,
    source_table  text NOT NULL,
    number        integer NOT NULL,
    version       text NOT NULL,
    lower         text[],
    upper         text[],
    reached       text[],
    rows          bigint NOT NULL DEFAULT 0,
    total         numeric NOT NULL DEFAULT 0,
    suspects      jsonb NOT NULL DEFAULT '[]',
    found         jsonb NOT NULL DEFAULT '{}',
    seconds       float8 NOT NULL DEFAULT 0,
    done          boolean NOT NULL DEFAULT false,
    claim         bigint NOT NULL DEFAULT 0,
    worker        text NOT NULL DEFAULT '',
    beat_at       timestamptz,
    PRIMARY KEY (verification, source_schema, source_table, number)
);
COMMENT ON TABLE dbbridge.verification_parts IS
    'A range of keys of one table, swept by one worker at a time: whoever claims it raises claim, '
    'and nobody else''s progress counts any more. Everything up to reached is in rows and total.';

CREATE TABLE dbbridge.proofs (
    pipeline      text NOT NULL REFERENCES dbbridge.pipeline ON DELETE CASCADE,
    source_schema text NOT NULL,
    source_table  text NOT NULL,
    verification  bigint NOT NULL,
    level         text NOT NULL,
    generation    integer NOT NULL,
    version       text NOT NULL,
    fingerprint   text NOT NULL,
    position_kind text,
    position      text,
    position_file text NOT NULL DEFAULT '',
    position_offset bigint NOT NULL DEFAULT 0,
    swept         boolean NOT NULL DEFAULT false,
    rows          bigint NOT NULL DEFAULT 0,
    total         numeric NOT NULL DEFAULT 0,
    rechecked     bigint NOT NULL DEFAULT 0,
    open          jsonb NOT NULL DEFAULT '[]',
    equivalences  jsonb NOT NULL DEFAULT '[]',
    obstacle      text NOT NULL DEFAULT '',
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (pipeline, source_schema, source_table)
);
COMMENT ON TABLE dbbridge.proofs IS
    'What is proven of each table: every row was seen equal on both sides, and every key that '
    'changed since was looked at again up to position, but for those in open and in differences.';

CREATE TABLE dbbridge.differences (
    pipeline      text NOT NULL REFERENCES dbbridge.pipeline ON DELETE CASCADE,
    source_schema text NOT NULL,
    source_table  text NOT NULL,
    key           text[] NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('missing', 'extra', 'differs')),
    document      jsonb NOT NULL,
    verification  bigint NOT NULL,
    part          integer,
    found_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (pipeline, source_schema, source_table, key)
);
COMMENT ON TABLE dbbridge.differences IS
    'Confirmed differences that are not known to be gone, by the canonical texts of their keys.';

CREATE TABLE dbbridge.certificates (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline   text NOT NULL REFERENCES dbbridge.pipeline ON DELETE CASCADE,
    group_name text NOT NULL,
    issued_at  timestamptz NOT NULL DEFAULT now(),
    position   text NOT NULL,
    document   jsonb NOT NULL
);
CREATE INDEX newest_certificates ON dbbridge.certificates (pipeline, group_name, id DESC);
COMMENT ON TABLE dbbridge.certificates IS
    'Both sides of a table group were proven equal at a position. Rows are never changed.';
