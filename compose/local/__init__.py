"""The services of compose.yaml without Docker.

MariaDB, MySQL, PostgreSQL and Redis as plain processes of the current user. Servers come from
PATH, or are unpacked privately from the distribution's packages; all that is made sits in
one ignored folder. ``python -m compose.local up`` starts them; tests call
``compose.local.servers.start``.

Modules, from the bottom up: ``places`` (folders, locks) and ``processes`` (start, end) <
``packages`` (private apt) < ``programs`` (which binary) < ``mysqlish``, ``postgres`` and
``redis`` (how each kind is initialised and run) < ``templates`` (initialised once, copied
afterwards) < ``servers``. ``guard`` ends what a dead owner left running. ``bootstrap`` makes
the virtual environment and uses the standard library only.
"""
