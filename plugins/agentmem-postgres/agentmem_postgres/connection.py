"""A connection to a PostgreSQL server: where it leads, and where psycopg's errors become agentmem's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from agentmem.backends.sql import name_of
from agentmem.errors import (
    AgentmemError,
    ConflictError,
    InputError,
    SettingsError,
    StoreBusyError,
    StoreClosedError,
    StoreError,
    StoreForeignError,
    StoreFullError,
    StoreMissingError,
    StoreReadOnlyError,
    StoreVersionError,
    first_line,
)
from agentmem.namespaces import parse_namespace
from agentmem.types import Namespace

OLDEST_SERVER = 14_00_00
DEFAULT_SCHEMA = "agentmem"
_CONNECT_SECONDS = 10
EVERYTHING = "["
"""How the name of every namespace begins, as the database has them."""
CONSENT = "backed-up"
_OURS = frozenset({"schema", "tenant", "upgrade"})
_SCHEMA = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")
Raw: TypeAlias = psycopg.Connection[tuple[Any, ...]]

_FORM = "it reads postgresql://user@host/database"
_AGAIN = "try again"
_BY_ERROR: dict[type[psycopg.Error], tuple[type[AgentmemError], str]] = {
    errors.InvalidPassword: (StoreError, "the password is wrong; check it, PGPASSWORD or ~/.pgpass"),
    errors.InvalidAuthorizationSpecification: (
        StoreError,
        "the server does not let this user in; check the user's name and the server's pg_hba.conf",
    ),
    errors.InvalidCatalogName: (StoreMissingError, "there is no such database; make it with `createdb`"),
    errors.InsufficientPrivilege: (
        StoreReadOnlyError,
        "this user may not do that; let the schema's owner grant it, or connect as the owner",
    ),
    errors.ReadOnlySqlTransaction: (
        StoreReadOnlyError,
        "the server or the user is set to read only; connect to the primary, as a user who may write",
    ),
    errors.LockNotAvailable: (StoreBusyError, f"another process is writing; let it finish, or {_AGAIN}"),
    errors.DeadlockDetected: (StoreBusyError, f"two writers waited for each other; {_AGAIN}"),
    errors.SerializationFailure: (StoreBusyError, f"two writers met; {_AGAIN}"),
    errors.TooManyConnections: (StoreBusyError, "the server has no connection left; raise max_connections"),
    errors.CannotConnectNow: (StoreBusyError, f"the server is starting or stopping; {_AGAIN} in a moment"),
    errors.DiskFull: (StoreFullError, "the server has no space left; free some, nothing was lost"),
    errors.UndefinedObject: (StoreMissingError, "that is not there; make it first"),
    errors.UndefinedTable: (StoreForeignError, "a table of the store is gone; restore a backup of the server"),
    errors.DataCorrupted: (StoreForeignError, "the server says its data are damaged; restore a backup of it"),
    errors.IndexCorrupted: (StoreForeignError, "the server says an index is damaged; let it REINDEX"),
    errors.ProgramLimitExceeded: (InputError, "a name (session, id) is too long to be stored; shorten it"),
}
_BY_WORDS = (
    ("no password supplied", StoreError, "the server wants a password; put it into the URL, PGPASSWORD or ~/.pgpass"),
    ("password authentication failed", *_BY_ERROR[errors.InvalidPassword]),
    ("does not exist", StoreMissingError, "there is no such database or user; make it, or check the URL"),
    ("no pg_hba.conf entry", *_BY_ERROR[errors.InvalidAuthorizationSpecification]),
    ("starting up", *_BY_ERROR[errors.CannotConnectNow]),
    ("shutting down", *_BY_ERROR[errors.CannotConnectNow]),
    ("too many clients", *_BY_ERROR[errors.TooManyConnections]),
    ("remaining connection slots", *_BY_ERROR[errors.TooManyConnections]),
)
"""Why a connection was refused: libpq gives no state for that, the server's English words only."""


@dataclass(frozen=True)
class Place:
    """Where a store is: what libpq connects by, the schema, and the URL as it may be shown, without a password; `root`
    is how the names of the namespaces begin that may be seen there, `upgrade` the consent to bring
    its schema up to date."""

    conninfo: str = field(repr=False)  # a password may stand in it
    schema: str
    url: str
    root: str = EVERYTHING
    upgrade: bool = False


def place_of(url: str) -> Place:
    """What a `postgresql://` URL names; `?schema=`, `?tenant=` and `?upgrade=` are ours, all else is libpq's.

    Raises SettingsError, and NamespaceError for a tenant that names no namespace.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise SettingsError(f"the store's URL is none ({error}); {_FORM}") from error
    options = parse_qsl(parts.query, keep_blank_values=True)
    schema = dict(options).get("schema", DEFAULT_SCHEMA)
    if not _SCHEMA.fullmatch(schema):
        raise SettingsError(f"the schema {schema!r} is no plain name: use letters, digits, - and _")
    tenant = dict(options).get("tenant")
    root = EVERYTHING if tenant is None else root_of(parse_namespace(tenant))
    upgrade = dict(options).get("upgrade")
    if upgrade not in (None, CONSENT):
        raise SettingsError(f"?upgrade={upgrade} says nothing; it reads ?upgrade={CONSENT}, once there is a backup")
    rest = [(name, value) for name, value in options if name not in _OURS]
    conninfo = _written(parts.scheme, parts.netloc, parts.path, rest)
    shown = [(name, value) for name, value in options if "password" not in name and name != "upgrade"]
    host = parts.netloc.rpartition("@")
    user = host[0].split(":")[0] + host[1]
    try:
        conninfo_to_dict(conninfo)
    except psycopg.Error as error:
        raise SettingsError(f"{parts.scheme}:// URL: {_plain(error, parts.password)}; {_FORM}") from error
    return Place(
        conninfo,
        schema,
        _written(parts.scheme, user + host[2], parts.path, shown),
        root,
        upgrade == CONSENT,
    )


def _written(scheme: str, netloc: str, path: str, options: list[tuple[str, str]]) -> str:
    """A URL that names no host keeps its slashes, by which libpq knows that it is one."""
    query = urlencode(options, safe="/")
    return f"{scheme}://{netloc}{path}" + (f"?{query}" if query else "")


def root_of(namespace: Namespace) -> str:
    """How the names of a namespace, and of those below it, begin."""
    return name_of(namespace).removesuffix("]")


def _plain(error: Exception, password: str | None) -> str:
    """A foreign error's first line, in which no password stands."""
    said = first_line(error)
    for secret in filter(None, (password, unquote(password or ""))):
        said = said.replace(secret, "***")
    return said


def connect(place: Place) -> Raw:
    """A connection as `Connection` wants it. Raises StoreError and its kin."""
    try:
        raw = psycopg.connect(place.conninfo, autocommit=True, connect_timeout=_CONNECT_SECONDS)
    except psycopg.Error as error:
        raise refused(error, place) from error
    try:
        check_server(raw.info.server_version, place)
    except StoreVersionError:
        raw.close()
        raise
    return raw


def check_server(version: int, place: Place) -> None:
    """Raises StoreVersionError for a server without what the store needs; `version` is as libpq has it, e.g. 140005."""
    if version < OLDEST_SERVER:
        have, need = version // 10_000, OLDEST_SERVER // 10_000
        raise StoreVersionError(f"{place.url}: PostgreSQL {have} is too old; use {need} or newer")


def refused(error: psycopg.Error, place: Place) -> AgentmemError:
    """The agentmem error for a connection that could not be made."""
    said = str(error)
    for words, cls, text in _BY_WORDS:
        if words in said:
            return cls(f"{place.url}: {text}")
    reason = _plain(error, urlsplit(place.conninfo).password)
    return StoreError(f"{place.url}: cannot be reached ({reason}); check the URL, and that the server runs")


def translated(error: psycopg.Error, place: Place) -> AgentmemError:
    """The agentmem error that stands for psycopg's."""
    if isinstance(error, errors.UniqueViolation):
        return ConflictError(f"{place.url}: a record with this identity exists already ({error.diag.constraint_name})")
    if type(error) in _BY_ERROR:
        cls, text = _BY_ERROR[type(error)]
        return cls(f"{place.url}: {text} ({first_line(error)})")
    if isinstance(error, psycopg.DataError):
        return InputError(f"{place.url}: a record cannot be stored ({first_line(error)}); split it")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return StoreClosedError(
            f"{place.url}: the connection was lost ({first_line(error)}); what was not acknowledged may be missing:"
            " look, then try again"
        )
    return StoreError(f"{place.url}: PostgreSQL says: {first_line(error)}")


class Connection:
    """A connection while one transaction uses it. Every statement goes through here; values stand as `?` in it."""

    def __init__(self, raw: Raw, place: Place) -> None:
        self.raw = raw
        self.place = place
        self.schema = place.schema
        self.name = place.url
        self.by_number = ""

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """How many rows it touched."""
        try:
            return self.raw.execute(_marked(sql), values or None).rowcount
        except psycopg.Error as error:
            raise translated(error, self.place) from error

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """One statement for many rows, sent without waiting for each answer."""
        try:
            with self.raw.cursor() as cursor:
                cursor.executemany(_marked(sql), rows)
        except psycopg.Error as error:
            raise translated(error, self.place) from error

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            return self.raw.execute(_marked(sql), values or None, binary=True).fetchall()
        except psycopg.Error as error:
            raise translated(error, self.place) from error

    def one(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The first value of the first row, None where there is no row."""
        rows = self.rows(sql, values)
        return rows[0][0] if rows else None

    @property
    def lost(self) -> bool:
        return self.raw.closed


def _marked(sql: str) -> str:
    """A statement as psycopg has it, where a per cent sign marks a value."""
    return sql.replace("%", "%%").replace("?", "%s") if "?" in sql else sql
