"""Typed models of both databases from the mapping: SQLAlchemy classes and pydantic models as text.

`build` makes a `Models` out of the plans; `tables` and `schemas` write one side of it; `package`
gathers the files and knows which of them may be overwritten. Nothing here talks to a server.
"""
