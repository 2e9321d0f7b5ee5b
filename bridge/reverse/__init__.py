"""Reverse replication: what is written in PostgreSQL after a switch goes back to MySQL."""
