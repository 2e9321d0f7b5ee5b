-- Which topic of changed definitions was read: one made later under its name is another.

ALTER TABLE dbbridge.notices ADD COLUMN topic_id text NOT NULL DEFAULT '';
COMMENT ON COLUMN dbbridge.notices.topic_id IS 'The topic''s identity; empty: it was not noted yet.';
