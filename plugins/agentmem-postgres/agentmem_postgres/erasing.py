"""What a server can promise about removed content, and how that is had.

A row that was deleted stays in its page until VACUUM frees the place, which it may only when no snapshot of another
session can see the row any more. VACUUM does not overwrite: what was removed can no longer be read with SQL, but its
bytes may lie in free space of a page until something else is written there, and in write-ahead log, archives, replicas
and backups for as long as the server keeps those. That is why the backend does not declare `secure_erase`.
`rewrite` (VACUUM FULL) leaves no such free space in the tables; the log remains the server's.
"""

from __future__ import annotations

from agentmem.backends.records import LOGGED
from agentmem.backends.rows import TABLES
from agentmem.errors import StoreReadOnlyError
from agentmem_postgres.connection import Connection

_WITH_CONTENT = ", ".join([*(TABLES[kind] for kind in TABLES if kind in LOGGED), "vectors", "snapshots"])
_SEEN_BY_OTHERS = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND backend_xmin IS NOT NULL AND age(backend_xmin) >= age(?::xid)
"""
"""Sessions whose snapshot may see rows that this transaction removed. Those of other users are only shown to members of
pg_read_all_stats."""


def erase(db: Connection) -> bool:
    """Free the place of removed rows; False while another session's snapshot holds them, or this user may not."""
    removing = [int(number) for (number,) in db.rows("SELECT transaction::text FROM erasures")]
    if not removing:
        return True
    if db.one(_SEEN_BY_OTHERS, [_short(max(removing))]) or not _vacuum(db, f"VACUUM (TRUNCATE FALSE) {_WITH_CONTENT}"):
        return False
    # What others have removed since is not done with.
    db.run("DELETE FROM erasures WHERE transaction = ANY(?::text[]::xid8[])", [list(map(str, removing))])
    return True


def rewrite(db: Connection) -> None:
    """Write the tables anew; afterwards nothing of what was removed is in them."""
    _vacuum(db, f"VACUUM (FULL) {_WITH_CONTENT}")


def _short(transaction: int) -> str:
    """The transaction's number without its epoch, as rows and snapshots have it."""
    return str(transaction % 2**32)


def _vacuum(db: Connection, statement: str) -> bool:
    """Whether it was done: who does not own a table is only warned, and on a standby nobody may."""
    warnings: list[str] = []
    handler = lambda notice: warnings.append(notice.sqlstate or "")  # noqa: E731
    db.raw.add_notice_handler(handler)
    try:
        db.run(statement)
    except StoreReadOnlyError:
        return False
    finally:
        db.raw.remove_notice_handler(handler)
    return not warnings
