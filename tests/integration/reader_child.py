"""A child that keeps a read transaction open on a store, or a write transaction, until its stdin says to go on."""

from __future__ import annotations

import sqlite3
import sys

from tests.integration.support import say

if __name__ == "__main__":
    begin, store = sys.argv[1:]
    db = sqlite3.connect(store, isolation_level=None)
    db.execute(begin)
    db.execute("SELECT count(*) FROM sqlite_master").fetchall()
    say(ready=True)
    sys.stdin.readline()
    db.close()
