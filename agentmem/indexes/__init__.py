"""Indexes in RAM, one set per namespace: caches over the database, never the truth."""
