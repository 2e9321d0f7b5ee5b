"""The control schema in PostgreSQL: migrations and named queries."""
