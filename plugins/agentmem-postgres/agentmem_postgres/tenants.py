"""A second wall between tenants, which the server keeps: row-level security on every table, by namespace.

A session names the namespace below which it works in `agentmem.tenant`; one that names none sees nothing. A role that
`confine` has listed sees nothing beyond its own root either, whatever it names. Roots are written as the beginning of a
namespace's name in the table `namespaces`: `["team", "a"`, and `[` for all. The owner of the tables, superusers and
roles with BYPASSRLS pass through the wall.
"""

from __future__ import annotations

from psycopg import Error, sql

from agentmem.errors import SettingsError
from agentmem.types import Namespace
from agentmem_postgres.connection import EVERYTHING, Connection, Raw, connect, place_of, root_of, translated

_COMMON = '["agentmem"]'
"""The library's own namespace, in which the work of erasing waits for whoever may do it."""

_NAMED = "(SELECT nullif(current_setting('agentmem.tenant', true), ''))"
_OWN = "(SELECT root_of(current_user))"
_BELOW_BOTH = " AND ".join(f"name >= {root} AND name < {root} || '~'" for root in (_NAMED, _OWN))
_SEEN = f"ns IN (SELECT id FROM namespaces WHERE {_BELOW_BOTH})"
_SEES_ALL = f"(SELECT {_NAMED} = '{EVERYTHING}' AND {_OWN} = '{EVERYTHING}')"
_BY_NAMESPACE = ("vectors", "edges", "changes", "snapshots")


def wall(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """The statements that build it; `kinds` are the tables of records."""
    walls = {
        "namespaces": f"name = '{_COMMON}' OR {_BELOW_BOTH}",
        # Where all may be seen, nobody looks up which: there may be a million.
        **dict.fromkeys((*kinds, *_BY_NAMESPACE), f"{_SEES_ALL} OR {_SEEN}"),
        "jobs": f"{_SEES_ALL} OR task = 'erase' OR {_SEEN}",
        "snapshot_ranges": f"{_SEES_ALL} OR snapshot IN (SELECT id FROM snapshots)",
        "erasures": "true",
    }
    return (
        'CREATE TABLE tenants (role text PRIMARY KEY, root text COLLATE "C" NOT NULL)',
        # As the tables' owner: who asks need not be let read what stands there of others.
        f"""CREATE FUNCTION root_of(asking name) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER
            RETURN coalesce((SELECT root FROM tenants WHERE role = asking), '{EVERYTHING}')""",
        *(f"CREATE POLICY wall ON {table} USING ({condition})" for table, condition in walls.items()),
        # Settings are the whole store's, and read by all; what it rests on, no tenant writes.
        "CREATE POLICY wall ON meta USING (true)",
        *(
            f"CREATE POLICY {name} ON meta AS RESTRICTIVE FOR {change}"
            f" ({_OWN} = '{EVERYTHING}' OR key NOT IN ('digest_key', 'schema_version'))"
            for name, change in (
                ("insert_wall", "INSERT WITH CHECK"),
                ("update_wall", "UPDATE USING"),
                ("delete_wall", "DELETE USING"),
            )
        ),
        *(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY" for table in (*walls, "meta", "tenants")),
    )


def require_wall(db: Connection) -> None:
    """Raises SettingsError where the wall does not hold for this user."""
    if not db.one("SELECT row_security_active('turns')"):
        raise SettingsError(
            f"{db.name}: ?tenant= does not bind the tables' owner or a superuser; connect as a role that owns nothing"
            " (agentmem_postgres.tenants.confine makes one ready)"
        )


def confine(url: str, role: str, namespace: Namespace) -> None:
    """Let a role that exists use the store at `url` below `namespace`, and nothing else of it.

    `url` is the owner's; confining a role again gives it another root. Raises StoreError and its kin.
    """
    place = place_of(url)
    raw = connect(place)
    try:
        with raw.transaction():
            _confine(raw, place.schema, role, root_of(namespace))
    except Error as error:
        raise translated(error, place) from error
    finally:
        raw.close()


def _confine(raw: Raw, schema: str, role: str, root: str) -> None:
    names = {"schema": sql.Identifier(schema), "role": sql.Identifier(role)}
    for grant in (
        "GRANT USAGE ON SCHEMA {schema} TO {role}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}",
        "REVOKE ALL ON {schema}.tenants FROM {role}",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}",
    ):
        raw.execute(sql.SQL(grant).format(**names))
    listed = "INSERT INTO {schema}.tenants VALUES (%s, %s) ON CONFLICT (role) DO UPDATE SET root = excluded.root"
    raw.execute(sql.SQL(listed).format(**names), [role, root])
