"""The one edge where the file system's and SQLite's errors become agentmem's; no SQL."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from agentmem.errors import (
    AgentmemError,
    ConflictError,
    InputError,
    StoreBusyError,
    StoreClosedError,
    StoreError,
    StoreForeignError,
    StoreFullError,
    StoreMissingError,
    StoreReadOnlyError,
    StoreVersionError,
)

OLDEST_SQLITE = (3, 35, 0)
_MAGIC = b"SQLite format 3\0"
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "sshfs", "afs"})
_BY_CODE: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_BUSY: (StoreBusyError, "another process is writing; end it, or try again"),
    sqlite3.SQLITE_LOCKED: (StoreBusyError, "another process is writing; end it, or try again"),
    sqlite3.SQLITE_READONLY: (StoreReadOnlyError, "cannot be written to; check its permissions and its folder's"),
    sqlite3.SQLITE_PERM: (StoreReadOnlyError, "cannot be written to; check its permissions and its folder's"),
    sqlite3.SQLITE_CANTOPEN: (StoreReadOnlyError, "cannot be opened; check that it exists and its permissions"),
    sqlite3.SQLITE_CORRUPT: (StoreForeignError, "is damaged or incomplete; restore a backup (`agentmem restore`)"),
    sqlite3.SQLITE_NOTADB: (StoreForeignError, "is not an agentmem database; choose another --store"),
    sqlite3.SQLITE_FULL: (StoreFullError, "no space left; free some, nothing was lost"),
    sqlite3.SQLITE_IOERR: (StoreError, "could not be read or written; check the disk"),
}
_BY_EXTENDED_CODE: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_IOERR_WRITE: (StoreFullError, "could not be written (disk full, or over a limit); nothing was lost"),
}


def translated(error: sqlite3.Error, path: Path) -> AgentmemError:
    """The agentmem error that stands for SQLite's."""
    code = getattr(error, "sqlite_errorcode", 0)
    cls, text = _BY_EXTENDED_CODE.get(code) or _BY_CODE.get(code & 0xFF) or (StoreError, f"SQLite says: {error}")
    if isinstance(error, sqlite3.IntegrityError):
        return ConflictError(f"{path}: a record with this identity exists already ({error})")
    if isinstance(error, sqlite3.DataError):
        return InputError(f"{path}: a record is too large to store ({error}); split it")
    if isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error):
        return StoreClosedError(f"{path}: is closed; open it again")
    return cls(f"{path}: {text}")


def check_sqlite(version: tuple[int, int, int] = sqlite3.sqlite_version_info[:3]) -> None:
    """Raises StoreVersionError for a SQLite without what the store needs."""
    if version < OLDEST_SQLITE:
        have, need = (".".join(map(str, v)) for v in (version, OLDEST_SQLITE))
        raise StoreVersionError(f"SQLite {have} is too old; use a Python built with SQLite {need} or newer")


def file_system(path: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """Type of the file system that holds `path`; "" where the system doesn't tell."""
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    target, best = os.path.realpath(path), ("", "")
    for line in lines:
        point, kind = line.split(" ")[1:3]
        point = point.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        if len(point) >= len(best[0]) and (target == point or target.startswith(point.rstrip("/") + "/")):
            best = (point, kind)
    return best[1]


def check_location(path: Path, *, create: bool, allow_network: bool) -> bool:
    """Whether `path` holds a file to open already; a file that is missing is made, empty, where `create` allows it.

    Raises StoreMissingError, StoreForeignError, StoreReadOnlyError, or StoreError for a network file system.
    """
    try:
        if not allow_network and (kind := file_system(path)) in _NETWORK:
            raise StoreError(f"{path}: is on a network file system ({kind}), unsafe for SQLite; choose a local --store")
        exists = _has_content(path)
        if not exists:
            _make(path, create)
        _check_writable(path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StoreReadOnlyError(f"{path}: cannot be used ({reason}); check the path and its permissions") from error
    return exists


def _has_content(path: Path) -> bool:
    if path.is_dir():
        raise StoreForeignError(f"{path}: is a directory; give the path of a file")
    try:
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
    except FileNotFoundError:
        return False
    if start and start != _MAGIC:
        raise StoreForeignError(f"{path}: is not an agentmem database; choose another --store")
    return bool(start)


def _make(path: Path, create: bool) -> None:
    if not create:
        raise StoreMissingError(f"{path}: no store there; check the path, or add something to make one")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    sync_directory(path.parent)


def _check_writable(path: Path) -> None:
    for part in (path, path.parent):
        if not os.access(part, os.W_OK):
            raise StoreReadOnlyError(f"{path}: {part} cannot be written to; change its permissions or copy the store")


def sync_directory(path: Path) -> None:
    """Make a new name in a directory survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sizes(path: Path) -> tuple[int, int]:
    """Bytes of the database and of its write-ahead log."""
    return _size(path), _size(path.with_name(path.name + "-wal"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
