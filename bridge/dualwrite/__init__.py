"""Writes of an application that reach both sides: authority, operations, the SQLAlchemy layer."""
