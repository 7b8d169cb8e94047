"""Thoughts and what may be done to them (Think-in-Memory, Liu et al. 2023, §3.3): insert, retract, merge, and undo.

Cosine cannot tell a paraphrase from a contradiction ("20 mg" and "40 mg" daily are at 0.98), so nothing here asks it:
`insert` strengthens only a thought whose normalised text is equal. Links of relation "similar" are made when vectors
are set and mean no more than that. Every function works inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from agentmem.clock import as_utc
from agentmem.digests import normalise
from agentmem.errors import ConflictError, InputError, NotFoundError
from agentmem.ids import new_id
from agentmem.interfaces import Reader, Writer
from agentmem.ledger import drop_jobs, embed_job, is_suppressed
from agentmem.secrets import refuse_secret
from agentmem.types import Edge, Inserted, Namespace, Operation, Thought

_UNDOABLE = ("merge", "retract")


def draft(text: str, *, namespace: Namespace, now: datetime, **given: Any) -> Thought:
    """A thought ready to insert. Raises InputError for an empty text, SecretError for one that holds a secret."""
    if not text.strip():
        raise InputError("an empty thought cannot be remembered: give a statement")
    refuse_secret(text, "thoughts")
    given["valid_from"] = as_utc(given.get("valid_from") or now)
    return Thought(id=new_id(), namespace=namespace, text=text.strip(), recorded_at=now, **given)


def insert(writer: Writer, thought: Thought, *, sources: Sequence[str] = ()) -> Inserted:
    """Store a thought with its source turns, or strengthen the live one of equal text.

    Raises NotFoundError for an unknown source, ConflictError where the text was forgotten with its source kept and
    anyone but the user says it again.
    """
    namespace = thought.namespace
    _check_sources(writer, sources, namespace)
    _honour_suppression(writer, thought)
    equal = find_equal(writer, thought.text, namespace=namespace)
    if equal is not None:
        return Inserted(strengthen(writer, equal, thought, sources=sources), strengthened=True)
    writer.add([thought, embed_job("thought", thought.id, namespace=namespace, now=thought.recorded_at)])
    _link_sources(writer, thought, sources)
    return Inserted(thought, strengthened=False)


def strengthen(writer: Writer, thought: Thought, said: Thought, *, sources: Sequence[str]) -> Thought:
    """The thought with the strength and the sources of one that says the same."""
    stored = replace(thought, strength=thought.strength + said.strength, trusted=thought.trusted or said.trusted)
    writer.replace([stored])
    _link_sources(writer, stored, sources)
    return stored


def _link_sources(writer: Writer, thought: Thought, sources: Sequence[str]) -> None:
    edges = (Edge("thought", thought.id, "turn", turn, "source") for turn in sources)
    writer.link(edges, namespace=thought.namespace)


def find_equal(reader: Reader, text: str, *, namespace: Namespace) -> Thought | None:
    """The live thought whose normalised text equals this one's."""
    where = {"text_digest": reader.digest(normalise(text)), "state": "live"}
    return next((t for t in reader.select("thought", namespace=namespace, where=where) if t.valid_to is None), None)


def suppression_key(text: str) -> str:
    return f"thought\0{normalise(text)}"


def _check_sources(reader: Reader, sources: Sequence[str], namespace: Namespace) -> None:
    found = {turn.id for turn in reader.get("turn", sources, namespace=namespace)}
    missing = [source for source in sources if source not in found]
    if missing:
        raise NotFoundError(f"no turn {missing[0]} in this namespace: a thought's sources are turns in the ledger")


def _honour_suppression(writer: Writer, thought: Thought) -> None:
    if not is_suppressed(writer, suppression_key(thought.text), namespace=thought.namespace):
        return
    if thought.origin != "user":
        raise ConflictError("this thought was forgotten: only the user may bring it back")
    digest = writer.digest(suppression_key(thought.text))
    lifted = writer.select("suppression", namespace=thought.namespace, where={"digest": digest})
    writer.remove("suppression", [s.id for s in lifted], namespace=thought.namespace)


def get_live(reader: Reader, thought_id: str, *, namespace: Namespace) -> Thought:
    found: list[Thought] = reader.get("thought", [thought_id], namespace=namespace)
    if not found:
        raise NotFoundError(f"no thought {thought_id} in this namespace")
    if found[0].state != "live":
        raise ConflictError(f"thought {thought_id} is {found[0].state} already: `undo` brings it back")
    return found[0]


def retract(
    writer: Writer,
    thought_id: str,
    *,
    namespace: Namespace,
    now: datetime,
    superseded_by: str | None,
    valid_to: datetime,
) -> Operation:
    """End a thought's validity at `valid_to`; it stays, dated and linked to what took its place."""
    thought = get_live(writer, thought_id, namespace=namespace)
    if superseded_by is not None:
        if superseded_by == thought_id:
            raise ConflictError(f"thought {thought_id} cannot supersede itself")
        get_live(writer, superseded_by, namespace=namespace)
    ended = max(as_utc(valid_to), thought.valid_from)
    writer.replace([replace(thought, state="retracted", valid_to=ended, retracted_at=now, superseded_by=superseded_by)])
    return _log(writer, "retract", {"thought": thought_id, "valid_to": _iso(thought.valid_to)}, namespace, now)


def merge(
    writer: Writer, thought_ids: Sequence[str], text: str, *, namespace: Namespace, now: datetime
) -> tuple[Thought, Operation]:
    """One thought of several: it has their sources and strength; they stay below it with state "merged"."""
    parents = [get_live(writer, i, namespace=namespace) for i in dict.fromkeys(thought_ids)]
    equal = find_equal(writer, text, namespace=namespace)
    if equal is not None and equal.id not in {p.id for p in parents}:
        parents.append(equal)
    if len(parents) < 2:
        raise InputError("a merge takes at least two different thoughts")
    merged = draft(text, namespace=namespace, now=now, **_common(parents))
    ids = [p.id for p in parents]
    sources = [e.parent for e in writer.edges(namespace=namespace, children=ids, relation="source")]
    writer.add([merged, embed_job("thought", merged.id, namespace=namespace, now=now)])
    writer.replace(replace(p, state="merged", superseded_by=merged.id, retracted_at=now) for p in parents)
    writer.link((Edge("thought", merged.id, "thought", i, "merged") for i in ids), namespace=namespace)
    writer.link((Edge("thought", merged.id, "turn", s, "source") for s in dict.fromkeys(sources)), namespace=namespace)
    return merged, _log(writer, "merge", {"merged": merged.id, "parents": ids}, namespace, now)


def _common(parents: Sequence[Thought]) -> dict[str, Any]:
    """What a merged thought has from its parents; a field in which they differ is left out."""
    common: dict[str, Any] = {
        "strength": sum(p.strength for p in parents),
        "trusted": all(p.trusted for p in parents),
        "valid_from": min(p.valid_from for p in parents),
    }
    for name in ("head", "relation", "tail", "origin"):
        values = {getattr(p, name) for p in parents}
        if len(values) == 1:
            common[name] = values.pop()
    common.setdefault("origin", "agent")
    return common


def undo(writer: Writer, operation_id: str | None, *, namespace: Namespace, now: datetime) -> Operation:
    """Take back a merge or a retraction (None: the newest one that still stands)."""
    operation = _find_operation(writer, operation_id, namespace)
    if operation.name == "retract":
        _undo_retract(writer, operation)
    else:
        _undo_merge(writer, operation)
    done = replace(operation, undone_at=now)
    writer.replace([done])
    return done


def _find_operation(reader: Reader, operation_id: str | None, namespace: Namespace) -> Operation:
    if operation_id is not None:
        named: list[Operation] = reader.get("operation", [operation_id], namespace=namespace)
        if not named:
            raise NotFoundError(f"no operation {operation_id} in this namespace")
        if named[0].name not in _UNDOABLE:
            raise ConflictError(f"operation {operation_id} is a {named[0].name}: do it again the other way round")
        if named[0].undone_at is not None:
            raise ConflictError(f"operation {operation_id} is undone already")
        return named[0]
    standing: Iterable[Operation] = reader.select(
        "operation",
        namespace=namespace,
        where={"undone_at": None, "name": _UNDOABLE},
        descending=True,
        order="id",
        limit=1,
    )
    for operation in standing:
        return operation
    raise NotFoundError("nothing to undo in this namespace")


def _undo_retract(writer: Writer, operation: Operation) -> None:
    namespace, before = operation.namespace, operation.before
    thought = _in_state(writer, before["thought"], "retracted", namespace)
    valid_to = before["valid_to"]
    ended = None if valid_to is None else datetime.fromisoformat(valid_to)
    revive(writer, replace(thought, valid_to=ended))


def _undo_merge(writer: Writer, operation: Operation) -> None:
    namespace, before = operation.namespace, operation.before
    _in_state(writer, before["merged"], "live", namespace)
    parents = [_in_state(writer, parent, "merged", namespace) for parent in before["parents"]]
    drop(writer, [before["merged"]], namespace=namespace)
    for parent in parents:
        revive(writer, parent)


def _in_state(reader: Reader, thought_id: str, state: str, namespace: Namespace) -> Thought:
    found: list[Thought] = reader.get("thought", [thought_id], namespace=namespace)
    if not found or found[0].state != state:
        raise ConflictError(f"thought {thought_id} has changed since: undo what was done to it first, or forget it")
    return found[0]


def revive(writer: Writer, thought: Thought) -> None:
    """Make a thought live again. Where an equal one is live by now, that one takes over its sources and strength, so
    that no statement stands there twice."""
    namespace = thought.namespace
    equal = find_equal(writer, thought.text, namespace=namespace)
    if equal is None:
        writer.replace([replace(thought, state="live", retracted_at=None, superseded_by=None)])
        return
    writer.replace([replace(equal, strength=equal.strength + thought.strength)])
    sources = writer.edges(namespace=namespace, children=[thought.id], relation="source")
    writer.link((replace(edge, child=equal.id) for edge in sources), namespace=namespace)
    drop(writer, [thought.id], namespace=namespace, successor=equal.id)


def drop(writer: Writer, thought_ids: Sequence[str], *, namespace: Namespace, successor: str | None = None) -> None:
    """Remove thoughts with the work that waits for them; what they superseded points to `successor` from now on."""
    if not thought_ids:
        return
    superseded = writer.select("thought", namespace=namespace, where={"superseded_by": tuple(thought_ids)})
    pointing = [replace(t, superseded_by=successor) for t in superseded if t.id not in set(thought_ids)]
    writer.replace(pointing)
    drop_jobs(writer, thought_ids, namespace=namespace)
    writer.remove("thought", thought_ids, namespace=namespace)


def _log(writer: Writer, name: str, before: Mapping[str, Any], namespace: Namespace, now: datetime) -> Operation:
    operation = Operation(id=new_id(), namespace=namespace, name=name, before=before, recorded_at=now)  # type: ignore[arg-type]  # a Literal
    writer.add([operation])
    return operation


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def is_valid(thought: Thought, *, as_of: datetime, known_at: datetime | None = None) -> bool:
    """Whether a thought was true at `as_of` (valid time), by what was known at `known_at` (record time, None: now)."""
    if known_at is not None and thought.recorded_at > known_at:
        return False
    untouched = known_at is not None and thought.retracted_at is not None and thought.retracted_at > known_at
    if thought.state == "merged" and not untouched:
        return False
    ended = None if untouched else thought.valid_to
    return thought.valid_from <= as_of and (ended is None or as_of < ended)
