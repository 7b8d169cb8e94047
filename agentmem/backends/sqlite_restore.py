"""Putting a backup in the place of a SQLite store: verified first, swapped at once, the old file kept aside."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from agentmem.backends.sqlite import SqliteBackend
from agentmem.backends.sqlite_connection import Connection
from agentmem.backends.sqlite_files import sync_directory, sync_file
from agentmem.errors import InputError, StoreBusyError, StoreError, StoreForeignError, StoreMissingError

_SIDE_FILES = ("-wal", "-shm")


def restore(backup: Path, store: Path) -> Path | None:
    """Put a copy of `backup` at `store`; return where the old store was kept, None where there was none.

    Raises StoreForeignError for a backup that is not sound, StoreBusyError while another process has the store open;
    in both cases the store is as it was.
    """
    backup, store = backup.absolute(), store.absolute()
    if not backup.exists():
        raise StoreMissingError(f"{backup}: no backup there; check the path")
    if store.exists() and backup.samefile(store):
        raise InputError(f"{backup}: is the store itself; name a backup of it")
    store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = store.with_name(f".{store.name}.{os.getpid()}.restoring")
    try:
        shutil.copyfile(backup, draft)
        os.chmod(draft, 0o600)
        _verify(draft, backup)
        return _swap(draft, store)
    except OSError as error:
        raise StoreError(f"{store}: cannot be restored ({error.strerror}); it was left as it is") from error
    finally:
        for name in (draft.name, *(draft.name + suffix for suffix in _SIDE_FILES)):
            draft.with_name(name).unlink(missing_ok=True)


def _verify(draft: Path, backup: Path) -> None:
    """Open the copy as a store and look for faults; opening brings an older schema up to date."""
    opened = SqliteBackend(draft, create=False)
    try:
        faults = opened.check()
        opened.erase()
    finally:
        opened.close()
    if faults:
        raise StoreForeignError(f"{backup}: is damaged ({faults[0]}); choose another backup")
    sync_file(draft)


def _swap(draft: Path, store: Path) -> Path | None:
    aside = store.with_name(f"{store.name}.before-restore") if store.exists() else None
    if aside is not None:
        _settle(store)
        aside.unlink(missing_ok=True)
        os.link(store, aside)
    for suffix in _SIDE_FILES:
        # The old store's log would be replayed into the restored file.
        store.with_name(store.name + suffix).unlink(missing_ok=True)
    os.replace(draft, store)
    sync_directory(store.parent)
    return aside


def _settle(store: Path) -> None:
    """Bring the log into the file. Raises StoreBusyError while another process has the store open."""
    try:
        db = Connection(store, busy_timeout=1.0)
    except StoreForeignError:
        return  # what is being replaced is damaged: keep it aside as it is
    try:
        db.run("PRAGMA locking_mode = EXCLUSIVE")
        db.run("PRAGMA wal_checkpoint(TRUNCATE)")
        db.run("BEGIN EXCLUSIVE")
        db.run("COMMIT")
    except StoreForeignError:
        return
    except StoreBusyError as error:
        raise StoreBusyError(
            f"{store}: is in use; close every agentmem that has it open, then restore again"
        ) from error
    finally:
        db.raw.close()
