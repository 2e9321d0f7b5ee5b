-- name: waive
INSERT INTO dbbridge.waivers (pipeline, grp, gate, reason, evidence, by)
VALUES (%(pipeline)s, %(group)s, %(gate)s, %(reason)s, %(evidence)s, %(by)s)
ON CONFLICT (pipeline, grp, gate) DO UPDATE
SET reason = EXCLUDED.reason, evidence = EXCLUDED.evidence, by = EXCLUDED.by, at = now()

-- name: waivers
SELECT gate, reason, evidence, by, at FROM dbbridge.waivers
WHERE pipeline = %(pipeline)s AND grp = %(group)s ORDER BY gate

-- name: drop_changed
DELETE FROM dbbridge.waivers
WHERE pipeline = %(pipeline)s AND grp = %(group)s AND gate = %(gate)s AND evidence <> %(evidence)s

-- name: drop_all
DELETE FROM dbbridge.waivers WHERE pipeline = %(pipeline)s AND grp = %(group)s
RETURNING gate, reason, by
