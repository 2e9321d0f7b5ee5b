"""D: what the rows hold."""

from __future__ import annotations

from bridge.findings.base import Code

DATA = (
    Code(
        "D011",
        "unsigned-range",
        "info",
        "A bigint unsigned holds values up to 18446744073709551615; PostgreSQL's bigint ends at"
        " 9223372036854775807. The finding tells the column's greatest value. numeric(20,0)"
        " holds every value, but takes more room, is slower as a key and cannot be an identity.",
        "bigint is the better target while the greatest value fits; rows beyond it are quarantined",
    ),
    Code(
        "D012",
        "tinyint-flags",
        "info",
        "tinyint(1) is how MySQL applications write a truth value, but it holds -128 to 127."
        " The finding counts the rows that hold something other than 0, 1 and NULL.",
        "boolean fits while no row holds anything but 0 and 1; otherwise keep smallint",
    ),
    Code(
        "D014",
        "time-range",
        "info",
        "MySQL's TIME is a duration from -838:59:59 to 838:59:59, PostgreSQL's time a time of"
        " day. The finding counts the rows outside of a day.",
        "time fits while no row is outside of 00:00-24:00; interval holds every value",
    ),
    Code(
        "D015",
        "nul-in-text",
        "warning",
        "PostgreSQL's text cannot hold the character NUL (U+0000); MySQL's can. Such rows are"
        " quarantined unless the column's policy `nul` says to strip or replace it.",
        "choose `nul: strip` or `nul: replace:TEXT` for the column, or clean the rows in the"
        " source",
    ),
    Code(
        "D016",
        "nul-in-json",
        "warning",
        "PostgreSQL's jsonb refuses the escape \\u0000 in strings; MySQL's JSON holds it. Such"
        " rows are quarantined unless the column's policy `nul` says to strip or replace it.",
        "choose `nul: strip` or `nul: replace:TEXT` for the column, or the target type json",
    ),
    Code(
        "D017",
        "zero-date",
        "warning",
        "MySQL stores dates that do not exist: 0000-00-00, and partial ones such as 2020-00-15."
        " PostgreSQL has no form for them. The column's policy `zero_date` decides: quarantine"
        " (the default: the row waits outside the target), as-null (the target column loses NOT"
        " NULL), sentinel:VALUE (a date that you choose), or as-text with the target type text.",
        "choose zero_date: as-null, sentinel:VALUE or as-text in the column's mapping",
    ),
    Code(
        "D018",
        "uuid-bytes",
        "info",
        "Every value of this binary(16) column looks like a UUID (version and variant digits"
        " are those of RFC 9562).",
        "the target type uuid prints and sorts them as UUIDs; bytea keeps them as bytes",
    ),
    Code(
        "D019",
        "counter-range",
        "warning",
        "An AUTO_INCREMENT column becomes an identity of type bigint, integer or smallint. The"
        " finding tells how far the counter is; rows beyond the target type are quarantined.",
        "choose a wider target type",
    ),
    Code(
        "D020",
        "enum-empty",
        "info",
        "Without strict mode MySQL stores a value that an enum does not have as index 0, which"
        " reads as the empty text. The finding counts such rows. The target's CHECK allows ''"
        " therefore.",
    ),
    Code(
        "D022",
        "key-too-long",
        "warning",
        "PostgreSQL's B-tree refuses entries over 2704 bytes (after compression); MySQL allows"
        " keys of 3072 bytes. The finding counts rows whose key is longer: building the index"
        " may fail.",
        "list the index under not_carried, or shorten the values",
    ),
)
