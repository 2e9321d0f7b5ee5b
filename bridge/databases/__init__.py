"""Connections to the named databases."""
