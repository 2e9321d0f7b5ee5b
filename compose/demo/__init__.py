"""A shop moved from MariaDB to PostgreSQL before your eyes: ``make demo``.

``shop.sql`` is the schema of a ten-year-old application, ``shop`` fills it, ``writers`` keep
changing it, ``commands`` runs dbbridge as a user would, ``tour`` is the story told on the way, and
``places`` says which servers and databases it may use.
"""
