"""The services of compose.yaml without Docker.

MariaDB, MySQL, PostgreSQL, Redis and Kafka as plain processes of the current user. Servers come
from PATH, or are unpacked privately from the distribution's packages; Kafka, Kafka Connect and
Debezium are fetched by Maven and need a Java. All that is made sits in one ignored folder.
``python -m compose.local up`` starts them; tests call ``compose.local.servers.start``.

Modules, from the bottom up: ``places`` (folders, locks) and ``processes`` (start, end) <
``packages`` (private apt) and ``maven`` < ``programs`` (which binary) < ``mysqlish``,
``postgres``, ``redis``, ``kafka`` and ``connect`` (how each kind is initialised and run, the
last two by ``java``) < ``templates`` (initialised once, copied afterwards) < ``servers``.
``listeners`` starts a broker with TLS and SASL, with ``certificates``; ``rest`` talks to
Connect, and ``debezium`` writes its connectors' configurations. ``guard`` ends what a dead
owner left running. ``bootstrap`` makes the virtual environment and uses the standard library
only.
"""
