"""T: tables, their columns, indexes and constraints."""

from __future__ import annotations

from bridge.findings.base import Code

TABLES = (
    Code(
        "T001",
        "no-primary-key",
        "error",
        "Without a key a row cannot be told from an equal one, so replaying the log from a"
        " point before the copy would double rows. Such a table is copied from one snapshot at"
        " an exact position. MariaDB gives one without locks; MySQL only while the table is"
        " locked for reading for a moment, which the mapping's `copy: {lock: brief}` consents"
        " to.",
        "add a primary key, or write `copy: {lock: brief}` into the table's mapping",
    ),
    Code(
        "T002",
        "not-transactional",
        "warning",
        "Tables of engines other than InnoDB have no snapshots and no transactions: a reader"
        " locks writers out, a rolled-back statement leaves rows behind, and reverse replication"
        " into them is not possible.",
        "ALTER TABLE … ENGINE=InnoDB before moving it",
    ),
    Code(
        "T003",
        "unsupported-type",
        "error",
        "No conversion of this column type is known, so its values cannot be carried.",
        "drop the column in the mapping (`type: dropped`, with a reason), or change it in the"
        " source",
    ),
    Code(
        "T004",
        "long-name",
        "info",
        "PostgreSQL cuts names after 63 bytes; MySQL allows 64 characters of up to three bytes."
        " The target's name is the beginning of the name with a hash of the whole.",
        "choose a shorter name in the mapping if applications are to write it",
    ),
    Code(
        "T005",
        "caseless-unique",
        "warning",
        "The source compares this unique text without regard to case or accents, so it refuses"
        " 'ABC' beside 'abc'. The target compares bytes (COLLATE \"C\") and takes both: it never"
        " refuses a row of the source, but after the switch applications may write what the"
        " source refused.",
        "have the application normalise the text, or choose citext for the column",
    ),
    Code(
        "T006",
        "caseless-foreign-key",
        "warning",
        "The source accepts a child row 'abc' for a parent 'ABC'; PostgreSQL does not."
        " Validating the foreign key in the target fails if such rows exist.",
        "make child and parent rows agree in the source before the switch",
    ),
    Code(
        "T007",
        "prefix-unique",
        "warning",
        "The unique index covers only the beginning of a column. It becomes a unique index over"
        " left(column, n), which ON CONFLICT (column) cannot use.",
    ),
    Code(
        "T008",
        "wide-key",
        "warning",
        "PostgreSQL's B-tree refuses entries over 2704 bytes (after compression). The columns"
        " of this key may hold more, so building it may fail, and later a row may be refused.",
        "`dbbridge check` counts such rows (D022); list the index under not_carried if there"
        " are any",
    ),
    Code(
        "T009",
        "unlogged-cascade",
        "warning",
        "MariaDB, and MySQL before 9.6, do not log the rows that a foreign key deletes or"
        " changes by CASCADE or SET NULL. The bridge carries them out itself; parent and child"
        " are kept together for that.",
        "map parent and child into the same target, and pause or copy them together",
    ),
    Code(
        "T010",
        "partitioned",
        "info",
        "The partitions become one plain table. DROP, TRUNCATE and EXCHANGE PARTITION change"
        " rows without logging them: the table then stops and is copied again.",
        "delete old rows with DELETE while the bridge runs",
    ),
    Code(
        "T011",
        "fulltext-index",
        "warning",
        "A FULLTEXT index becomes a GIN index over to_tsvector('simple', …). MATCH … AGAINST"
        " has to be rewritten, and words are cut and ranked differently.",
        "rewrite the queries, or list the index under not_carried",
    ),
    Code(
        "T012",
        "spatial-index",
        "warning",
        "A SPATIAL index becomes a GiST index where the column becomes a PostGIS type;"
        " otherwise it is not carried.",
        "install PostGIS in the target, or list the index under not_carried",
    ),
    Code(
        "T013",
        "trigger",
        "warning",
        "The table has triggers. What they write is logged and carried as rows, but the"
        " triggers themselves are not: after the switch nothing does their work.",
        "write the trigger for PostgreSQL, or move its work into the application, before the"
        " switch",
    ),
    Code(
        "T014",
        "on-update",
        "info",
        "ON UPDATE CURRENT_TIMESTAMP becomes a trigger in the target, which is enabled when the"
        " target takes over.",
    ),
    Code(
        "T015",
        "tinyint-one",
        "info",
        "tinyint(1) may be a truth value or a small number; the width limits nothing.",
        "`dbbridge check` looks at the rows (D012) before boolean is chosen",
    ),
    Code(
        "T016",
        "bigint-unsigned",
        "info",
        "A bigint unsigned becomes numeric(20,0), or bigint where its greatest value fits.",
        "`dbbridge check` finds the greatest value (D011)",
    ),
    Code(
        "T017",
        "index-not-carried",
        "warning",
        "The index has no equal in the target: an expression that is not known to mean the"
        " same, or a column type that PostgreSQL cannot index that way.",
        "create an index of your own in the target, or list it under not_carried",
    ),
    Code(
        "T018",
        "generated-streamed",
        "info",
        "The expression of this generated column is not known to give the same value in"
        " PostgreSQL for every row, so the column is a plain one that is filled from the source."
        " After the switch nothing computes it.",
        "write `computed: EXPRESSION` into the mapping before the copy, or compute it in the"
        " application",
    ),
    Code(
        "T019",
        "default-not-carried",
        "warning",
        "The column's default is not known to mean the same in PostgreSQL and is left out. Rows"
        " from the source are not concerned; applications that rely on it after the switch are.",
        "ALTER TABLE … ALTER COLUMN … SET DEFAULT in the target, before the switch",
    ),
    Code(
        "T020",
        "check-not-carried",
        "warning",
        "The CHECK constraint is not known to accept the same rows in PostgreSQL and is left out.",
        "ALTER TABLE … ADD CONSTRAINT … CHECK in the target, before the switch",
    ),
    Code(
        "T021",
        "label-unreadable",
        "warning",
        "The catalogue prints characters outside the Basic Multilingual Plane (emoji) as"
        " question marks, so a label with a question mark may be another one. Rows whose label"
        " is printed otherwise are quarantined, and the target's CHECK is left out.",
        "rename the label in the source (ALTER TABLE … MODIFY), or leave the column out",
    ),
    Code(
        "T022",
        "foreign-key-not-carried",
        "warning",
        "The foreign key cannot be made in the target: its parent is not among the mapped"
        " tables, the parent's columns are not unique there, or the types do not compare.",
        "map the parent as well, or add the constraint by hand after the switch",
    ),
    Code(
        "T023",
        "left-out",
        "info",
        "Views, sequences and system-versioned tables are not moved.",
        "write them anew in the target, before the switch",
    ),
    Code(
        "T024",
        "no-identity",
        "warning",
        "An AUTO_INCREMENT column becomes an identity only if its target type is smallint,"
        " integer or bigint (PostgreSQL's manual, CREATE TABLE). This one stays a plain column.",
        "choose bigint for the column",
    ),
    Code(
        "T030",
        "target-differs",
        "error",
        "The target has a table of this name with other columns, types or keys than the mapping"
        " says. The bridge does not change or drop tables that it did not make.",
        "drop or rename the table in the target, choose another name, or make the mapping fit it",
    ),
    Code(
        "T033",
        "target-older",
        "warning",
        "The bridge made this table by an older mapping or definition of the source, and goes on"
        " with that. Another one takes effect with a new copy, beside the one that is served.",
        "copy the table again: dbbridge tables resync TABLE",
    ),
    Code(
        "T031",
        "target-acts",
        "warning",
        "The target's table has triggers or foreign keys that act on rows as they are applied."
        " Rows arrive in another order than applications write them, and some would be refused"
        " or doubled.",
        "drop or disable them until the target takes over",
    ),
    Code(
        "T032",
        "name-clash",
        "error",
        "Tables and indexes share one list of names per schema in PostgreSQL. The names of indexes"
        " are made of the table's and the index's, and two of them came out alike.",
        "give one of the tables another name in its mapping, or list the index under not_carried",
    ),
)
