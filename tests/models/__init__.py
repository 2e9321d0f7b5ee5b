"""Executable models of the copy, stream and apply rules: no database, many random histories.

Every rule is run as it is built, where it must never go wrong, and with one part of it broken,
where it must: a model that cannot fail proves nothing. README.md lists the figures.
"""
