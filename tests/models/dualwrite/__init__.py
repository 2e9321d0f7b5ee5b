"""The model of dual writes: a source, a target with PostgreSQL's locks, and who writes into it.

Everyone is a generator that stops wherever another one may come between, so that a history is a
log of the source and one order of all these steps.
"""
