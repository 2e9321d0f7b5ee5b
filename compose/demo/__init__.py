"""A shop moved to PostgreSQL before your eyes: ``make demo``, ``make demo-kafka``.

``shop.sql`` is the schema of a ten-year-old application, ``shop`` fills it, ``writers`` keep
changing it, ``commands`` runs dbbridge as a user would, ``tour`` is the story told on the way, of
which ``binlog`` and ``kafka`` tell how changes come, and ``servers`` and ``databases`` say what it
may use.
"""
