"""Looking into the store: a thought's history, what stood around a turn, counts, and ids from their ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from agentmem.costs import costs
from agentmem.embedqueue import identity_of
from agentmem.errors import ConflictError, NotFoundError
from agentmem.interfaces import Backend, Reader
from agentmem.thoughts import is_valid
from agentmem.types import Chunk, History, Kind, Namespace, Stats, Thought, ThoughtState, Turn

_SHORTEST_ID = 6
_ALL = 2**62


def get_turn(reader: Reader, turn_id: str, *, namespace: Namespace) -> Turn:
    found: list[Turn] = reader.get("turn", [turn_id], namespace=namespace)
    if not found:
        raise NotFoundError(f"no turn {turn_id} in this namespace")
    return found[0]


def get_thought(reader: Reader, thought_id: str, *, namespace: Namespace) -> Thought:
    found: list[Thought] = reader.get("thought", [thought_id], namespace=namespace)
    if not found:
        raise NotFoundError(f"no thought {thought_id} in this namespace")
    return found[0]


def resolve(reader: Reader, shortened: str, *, namespace: Namespace) -> tuple[Kind, str]:
    """The turn or thought whose id is, begins or ends with `shortened` (six characters or more).

    Raises NotFoundError for none, ConflictError for several.
    """
    kinds: tuple[Kind, ...] = ("thought", "turn")
    for kind in kinds:
        if reader.get(kind, [shortened], namespace=namespace):
            return kind, shortened
    if len(shortened) < _SHORTEST_ID:
        raise NotFoundError(
            f"no turn or thought {shortened!r} in this namespace: give six characters of its id or more"
        )
    found = [(kind, i) for kind in kinds for i in _matching(reader, kind, shortened, namespace)]
    if not found:
        raise NotFoundError(f"no turn or thought {shortened!r} in this namespace")
    if len(found) > 1:
        raise ConflictError(f"{shortened!r} stands for {len(found)} ids: give more of it")
    return found[0]


def _matching(reader: Reader, kind: Kind, shortened: str, namespace: Namespace) -> Iterable[str]:
    ids: list[str] = reader.columns(kind, ["id"], namespace=namespace)["id"]
    return [i for i in ids if i.startswith(shortened) or i.endswith(shortened)]


def chunk_around(reader: Reader, turn_id: str, *, namespace: Namespace, around: int) -> list[Turn]:
    """The turns of the chunk that holds a turn, and of `around` chunks before and after it in its session."""
    turn = get_turn(reader, turn_id, namespace=namespace)
    chunks: list[Chunk] = list(
        reader.select("chunk", namespace=namespace, where={"session": turn.session}, order="first_seq")
    )
    at = max((n for n, chunk in enumerate(chunks) if chunk.first_seq <= turn.seq), default=0)
    shown = chunks[max(0, at - around) : at + around + 1]
    last = shown[-1].last_seq if shown else turn.seq
    first = shown[0].first_seq if shown else turn.seq
    where = {"session": turn.session, "seq": range(first, _ALL if last is None else last + 1)}
    return list(reader.select("turn", namespace=namespace, where=where, order="seq"))


def thoughts(
    reader: Reader,
    *,
    namespace: Namespace,
    state: ThoughtState | None,
    as_of: datetime | None,
    known_at: datetime | None,
    now: datetime,
) -> list[Thought]:
    """Thoughts in a state (None: any), or, with a date, those that were true then by what was known then."""
    if as_of is None and known_at is None:
        where = None if state is None else {"state": state}
        return list(reader.select("thought", namespace=namespace, where=where))
    moment = as_of or now
    every = reader.select("thought", namespace=namespace)
    return [thought for thought in every if is_valid(thought, as_of=moment, known_at=known_at)]


def history(reader: Reader, thought_id: str, *, namespace: Namespace) -> History:
    thought = get_thought(reader, thought_id, namespace=namespace)
    edges = reader.edges(namespace=namespace, children=[thought_id])
    source_ids = [e.parent for e in edges if e.relation == "source"]
    sources: list[Turn] = reader.get("turn", source_ids, namespace=namespace)
    links = edges + reader.edges(namespace=namespace, parents=[thought_id])
    similar = sorted({e.parent if e.child == thought_id else e.child for e in links if e.relation == "similar"})
    replaced = reader.select("thought", namespace=namespace, where={"superseded_by": thought_id, "state": "retracted"})
    parents = [e.parent for e in edges if e.relation == "merged"]
    return History(
        thought=thought,
        sources=tuple(sources),
        erased_sources=len(source_ids) - len(sources),
        parents=_thoughts(reader, parents, namespace),
        successors=tuple(_successors(reader, thought, namespace)),
        replaced=tuple(replaced),
        similar=_thoughts(reader, similar, namespace),
    )


def _thoughts(reader: Reader, ids: Sequence[str], namespace: Namespace) -> tuple[Thought, ...]:
    return tuple(reader.get("thought", ids, namespace=namespace))


def _successors(reader: Reader, thought: Thought, namespace: Namespace) -> Iterable[Thought]:
    seen = {thought.id}
    while thought.superseded_by is not None and thought.superseded_by not in seen:
        seen.add(thought.superseded_by)
        found: list[Thought] = reader.get("thought", [thought.superseded_by], namespace=namespace)
        if not found:
            return
        thought = found[0]
        yield thought


def stats(backend: Backend, *, namespace: Namespace) -> Stats:
    jobs = [job.state for job in backend.jobs()]
    with backend.read() as reader:
        identity = identity_of(reader)
        every = reader.count("thought", namespace=namespace)
        live = reader.count("thought", namespace=namespace, where={"state": "live"})
        return Stats(
            sessions=len(reader.sessions(namespace=namespace)),
            turns=reader.count("turn", namespace=namespace),
            chunks=reader.count("chunk", namespace=namespace),
            thoughts=live,
            retracted=every - live,
            waiting=jobs.count("queued"),
            parked=jobs.count("parked"),
            bytes=backend.size(),
            embedder=identity.name if identity else None,
            thinking=costs(reader),
        )
