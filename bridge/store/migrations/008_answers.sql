-- Answers of the HTTP service to requests with an Idempotency-Key, while the target has authority.

CREATE TABLE dbbridge.answers (
    op_id   uuid PRIMARY KEY,
    request bytea NOT NULL,
    answer  bytea,
    made    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX answers_by_age ON dbbridge.answers (made);
COMMENT ON TABLE dbbridge.answers IS
    'Written in the transaction that the answer tells of; the source has such a table for its own.';
