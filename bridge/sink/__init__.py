"""Into PostgreSQL: tables and indexes, copy, apply, quarantine."""
