"""Debezium's change events: what they say, and rows out of them (pure)."""
