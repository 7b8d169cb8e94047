"""What adapters learned and from whom: which one answers, and which must go when something is forgotten.

An adapter learned thoughts, and all that the adapters learned which it continues, averages or distils; a turn that one
wrote may hold what it learned, and so may a thought drawn from such a turn. Every function works inside the caller's
transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from agentmem.errors import ConflictError, NotFoundError
from agentmem.interfaces import Reader, Writer
from agentmem.types import Adapter, Edge, Namespace


def adapters(reader: Reader, *, namespace: Namespace) -> list[Adapter]:
    """All adapters of a namespace, oldest first."""
    return list(reader.select("adapter", namespace=namespace, order="id"))


def find_adapter(reader: Reader, name: str, *, namespace: Namespace) -> Adapter:
    """The adapter of that name, or whose name begins so. Raises NotFoundError for none, ConflictError for several."""
    known = adapters(reader, namespace=namespace)
    found = [one for one in known if name in (one.name, one.id)] or [one for one in known if one.name.startswith(name)]
    if not name or not found:
        raise NotFoundError(f"no adapter {name!r} in this namespace: `agentmem adapters` lists them")
    if len({one.name for one in found}) > 1:
        raise ConflictError(f"{name!r} stands for {len(found)} adapters: give more of the name")
    return found[-1]


def serving(reader: Reader, *, namespace: Namespace) -> Adapter | None:
    """The adapter that answers in a namespace, if any."""
    return next(iter(reader.select("adapter", namespace=namespace, where={"state": "serving"})), None)


def record(writer: Writer, adapter: Adapter, thoughts: Iterable[str], parents: Iterable[str] = ()) -> None:
    """Note an adapter with what it learned: thoughts, and the adapters that it was made from.

    Raises NotFoundError where one of the thoughts is gone or one of the adapters withdrawn: it was forgotten while the
    adapter was made, which must then never serve.
    """
    namespace, taught, made_from = adapter.namespace, list(thoughts), list(parents)
    there = {thought.id for thought in writer.get("thought", taught, namespace=namespace)}
    sound = {one.id for one in adapters(writer, namespace=namespace) if one.state != "withdrawn"}
    if not there.issuperset(taught) or not sound.issuperset(made_from):
        raise NotFoundError("something was forgotten while an adapter learned it: consolidate again without it")
    writer.add([adapter])
    writer.link((Edge("adapter", adapter.id, "thought", i, "learned") for i in taught), namespace=namespace)
    writer.link((Edge("adapter", adapter.id, "adapter", i, "learned") for i in made_from), namespace=namespace)


def learned(reader: Reader, adapter: Adapter) -> list[str]:
    """Ids of the thoughts that an adapter learned and that are still there."""
    edges = reader.edges(namespace=adapter.namespace, children=[adapter.id], relation="learned")
    return [edge.parent for edge in edges if edge.parent_kind == "thought"]


def made_from(reader: Reader, adapter: Adapter) -> list[Adapter]:
    """The adapters that one continues, averages or distils."""
    edges = reader.edges(namespace=adapter.namespace, children=[adapter.id], relation="learned")
    parents = [edge.parent for edge in edges if edge.parent_kind == "adapter"]
    return list(reader.get("adapter", parents, namespace=adapter.namespace))


def put_in_service(writer: Writer, adapter: Adapter | None, *, namespace: Namespace, now: datetime) -> None:
    """From now on this adapter answers in its namespace, None: the base model alone. The one before is kept ready.

    Raises ConflictError for one that may not serve.
    """
    if adapter is not None:
        adapter = _current(writer, adapter)
        if adapter.state not in ("ready", "serving"):
            raise ConflictError(f"{adapter.name} is {adapter.state}: it cannot answer; consolidate anew")
    before = serving(writer, namespace=namespace)
    if before is not None and (adapter is None or before.id != adapter.id):
        writer.replace([replace(before, state="ready")])
    if adapter is not None:
        writer.replace([replace(adapter, state="serving", served_at=now)])


def _current(reader: Reader, adapter: Adapter) -> Adapter:
    """As the store has it now."""
    found: list[Adapter] = reader.get("adapter", [adapter.id], namespace=adapter.namespace)
    if not found:
        raise NotFoundError(f"no adapter {adapter.name} in this namespace")
    return found[0]


def previous(reader: Reader, *, namespace: Namespace) -> Adapter | None:
    """What a rollback goes back to: of those that served and still may, the latest before the one that serves."""
    current = serving(reader, namespace=namespace)
    served = [one for one in adapters(reader, namespace=namespace) if one.state == "ready" and one.served_at]
    if current is not None:
        served = [one for one in served if one.id < current.id]
    return max(served, key=lambda one: one.id, default=None)


def withdraw(writer: Writer, thoughts: Sequence[str], *, namespace: Namespace) -> list[Adapter]:
    """Take out of service, for good, every adapter that learned one of the thoughts; to be called before they go.

    With it go those that were made from such an adapter, or that learned a thought drawn from what such an adapter
    wrote. Returns those that were not withdrawn before.
    """
    fresh, gone = _taught(writer, thoughts, namespace), dict[str, None]()
    while fresh:
        gone.update(dict.fromkeys(fresh))
        fresh = [i for i in _descending(writer, fresh, namespace) if i not in gone]
    found: list[Adapter] = writer.get("adapter", list(gone), namespace=namespace)
    standing = [one for one in found if one.state != "withdrawn"]
    writer.replace(replace(one, state="withdrawn") for one in standing)
    return standing


def _descending(reader: Reader, adapters: Sequence[str], namespace: Namespace) -> list[str]:
    """Adapters made from these, or taught by what these wrote."""
    written = reader.edges(namespace=namespace, parents=adapters, relation="recalled")
    drawn = _drawn_from(reader, [edge.child for edge in written], namespace)
    return _taught(reader, [*adapters, *drawn], namespace)


def _drawn_from(reader: Reader, turns: Sequence[str], namespace: Namespace) -> list[str]:
    """Thoughts whose source one of these turns is, and what these were merged into."""
    found = [edge.child for edge in reader.edges(namespace=namespace, parents=turns, relation="source")]
    above = found
    while above:
        merged = reader.edges(namespace=namespace, parents=above, relation="merged")
        above = [edge.child for edge in merged if edge.child not in found]
        found = [*found, *above]
    return found


def _taught(reader: Reader, teachers: Sequence[str], namespace: Namespace) -> list[str]:
    """Adapters that learned from these thoughts or adapters."""
    edges = reader.edges(namespace=namespace, parents=teachers, relation="learned")
    return list(dict.fromkeys(edge.child for edge in edges))
