"""The records agentmem keeps and the values it returns: frozen dataclasses, no behaviour beyond derivation.

Times are timezone-aware UTC `datetime`s. Ids are UUIDv7 strings: random, time-ordered, kept through every move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

Namespace: TypeAlias = tuple[str, ...]
Role: TypeAlias = Literal["user", "assistant", "tool", "system"]
Precision: TypeAlias = Literal["second", "minute", "hour", "day", "month", "year"]
TurnStatus: TypeAlias = Literal["complete", "cancelled", "superseded"]
ThoughtState: TypeAlias = Literal["live", "retracted", "merged"]
Origin: TypeAlias = Literal["user", "agent", "tool", "code", "import"]
Kind: TypeAlias = Literal["turn", "chunk", "thought", "job", "operation", "suppression", "adapter"]
RecalledKind: TypeAlias = Literal["turn", "thought"]
Relation: TypeAlias = Literal["source", "merged", "similar", "recalled", "learned"]
AdapterState: TypeAlias = Literal["ready", "serving", "rejected", "withdrawn"]
JobState: TypeAlias = Literal["queued", "parked"]
Part: TypeAlias = Mapping[str, Any]


def text_of(parts: Sequence[Part]) -> str:
    """The searchable text of content parts: text as it is, an image by its caption."""
    shown = (p.get("text") if p.get("type") == "text" else _caption(p) for p in parts)
    return "\n".join(text for text in shown if text)


def _caption(part: Part) -> str:
    caption = part.get("caption")
    return f"[{part.get('type', 'attachment')}: {caption}]" if caption else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTurn:
    """A turn as the caller gives it, before the ledger has given it an id and a place.

    `parts` is JSON content, text first: `({"type": "text", "text": "…"},)`. `source` and `external_id` together
    identify where it came from: the same pair is stored once in a namespace. `zone` is the source's time zone name,
    offset, or "floating" where it named none.
    """

    role: Role
    parts: tuple[Part, ...]
    session: str = "default"
    speaker: str | None = None
    occurred_at: datetime | None = None
    zone: str = "UTC"
    precision: Precision = "second"
    source: str | None = None
    external_id: str | None = None
    parent_id: str | None = None
    status: TurnStatus = "complete"
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return text_of(self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn(NewTurn):
    """One verbatim utterance in the ledger. Order is (session, seq); `seq` counts from 0 within a session."""

    id: str
    namespace: Namespace
    seq: int
    occurred_at: datetime
    recorded_at: datetime


def only_quotes(turn: NewTurn) -> bool:
    """Whether a turn holds nothing but what memory said before, as its writer marked it: recall passes it over, since
    what came out of memory must not come back as if newly said."""
    return turn.metadata.get("quotes") is True


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Consecutive turns of one session: `first_seq <= seq <= last_seq`; `last_seq` is None while it is open.

    `summary` says in a sentence or two what they are about, where somebody has written one (`Memory.summarize`).
    """

    id: str
    namespace: Namespace
    session: str
    first_seq: int
    last_seq: int | None
    recorded_at: datetime
    summary: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Thought:
    """A self-contained statement (Think-in-Memory, Liu et al. 2023), true from `valid_from` until `valid_to`.

    `trusted` is False for what tools said. `strength` counts how often it was stated. A merged thought's parents have
    state "merged" and `superseded_by` it.
    """

    id: str
    namespace: Namespace
    text: str
    recorded_at: datetime
    valid_from: datetime
    valid_to: datetime | None = None
    head: str | None = None
    relation: str | None = None
    tail: str | None = None
    origin: Origin = "user"
    trusted: bool = True
    strength: int = 1
    state: ThoughtState = "live"
    retracted_at: datetime | None = None
    superseded_by: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A unit of durable work. It names its target by id and never holds content."""

    id: str
    namespace: Namespace
    task: str
    target_kind: str
    target: str
    recorded_at: datetime
    run_after: datetime
    state: JobState = "queued"
    attempts: int = 0
    lease_until: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One entry of the log of operations. Of a merge and a retraction, `before` holds ids and former states, to undo
    it by; of a rename, which session is called by which title."""

    id: str
    namespace: Namespace
    name: Literal["merge", "retract", "rename"]
    before: Mapping[str, Any]
    recorded_at: datetime
    undone_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """A keyed digest of what was forgotten and must not come back by rebuilding or ingesting again."""

    id: str
    namespace: Namespace
    digest: str
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """Weights distilled from thoughts: a LoRA adapter that was judged, and what became of it.

    `name` is what a model server calls it ("mem-…", of its content). "serving" is the one that answers in its
    namespace, "ready" one that passed and may, "rejected" one that did not pass; "withdrawn" learned something that was
    forgotten and never comes back. `metadata` says how it was made: numbers, digests, places and verdicts, no content.
    """

    id: str
    namespace: Namespace
    name: str
    recorded_at: datetime
    state: AdapterState = "ready"
    served_at: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


Record: TypeAlias = Turn | Chunk | Thought | Job | Operation | Suppression | Adapter


@dataclass(frozen=True, slots=True)
class Edge:
    """Provenance: `child` was derived from `parent`. "similar" links two thoughts, the younger as child; an adapter
    has "learned" thoughts, and what the adapters that it continues have; what it answered is "recalled" from it.

    An edge of relation "source" outlives a forgotten parent: that is how a source is marked erased.
    """

    child_kind: Kind
    child: str
    parent_kind: Kind
    parent: str
    relation: Relation


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the append-only change log. `op` "vector" says that the record's vector was set."""

    seq: int
    namespace: Namespace
    op: Literal["add", "replace", "remove", "vector"]
    kind: Kind
    id: str


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session by its turns: how many, and when the first and the last occurred. `title` is what the user calls it,
    where they do; a backend leaves it to the library."""

    namespace: Namespace
    session: str
    turns: int
    first_at: datetime
    last_at: datetime
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Signal:
    """One thing that counts for an item's rank: `value` is what was measured, `weight` how much it counts."""

    name: str
    value: float
    weight: float

    @property
    def contribution(self) -> float:
        """What it adds to the score."""
        return self.value * self.weight


@dataclass(frozen=True, slots=True)
class RecallItem:
    """One remembered thing, at its rank. The contributions of its `signals` add up to `score`; `why` says in words what
    counted. `measures` (explain.MEASURES) say how far it answers the query at all. Where the query has several parts,
    which take turns, all of these are of the part that `why` names, and scores descend within each.

    `source` is where it came from: for a turn its session, seq, role, speaker, source, external_id and metadata (a
    LoCoMo turn's `dia_id`, a BEAM turn's `message_id`); for a thought its origin and the ids of its source turns.
    """

    id: str
    kind: RecalledKind
    text: str
    score: float
    time: datetime
    source: Mapping[str, Any]
    why: str
    signals: tuple[Signal, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recollection:
    """What a recall found: items by rank, and whether the query's embedding took part (`dense`). `notes` are lines for
    the user about what could not be asked, such as an index that is down."""

    query: str
    items: tuple[RecallItem, ...]
    dense: bool
    milliseconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ForgetPlan:
    """What a forget would do, shown before it is done; every field but `samples` holds ids.

    `named` is what was asked for; `turns` and `thoughts` go because they were named or derived; `repeats` (thoughts)
    and `echoes` (turns, the agent's answers among them) say the same again and go unless left out. `restored` thoughts
    come back because the merge above them is dissolved. `chunks` lose their summary. `samples` maps ids to the text
    shown in the preview.
    """

    namespace: Namespace
    named: tuple[str, ...]
    turns: tuple[str, ...]
    thoughts: tuple[str, ...]
    repeats: tuple[str, ...]
    echoes: tuple[str, ...]
    restored: tuple[str, ...]
    chunks: tuple[str, ...]
    keep_source: bool
    samples: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of a forget: ids that went by kind, what came back, and whether their bytes are gone.

    `erased` is "done", or "pending" while another process's open read delays it or an index outside cannot be reached
    (a queued job finishes it), or "removed" where no more can be promised: nobody reads it there any more, but bytes of
    it may be left in files of the database or index server. `copies` are exports and backups made earlier: they are the
    user's to remove. Adapters that learned what went are out of service; `unreached` says where one's weights could not
    be removed yet.
    """

    forgotten: Mapping[str, tuple[str, ...]]
    restored: tuple[str, ...]
    erased: Literal["done", "pending", "removed"]
    copies: tuple[str, ...]
    at: datetime
    unreached: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Observed:
    """What became of a batch: turns added, and how many were known, suppressed by an earlier forget, or empty."""

    added: tuple[Turn, ...]
    known: int = 0
    suppressed: int = 0
    empty: int = 0


@dataclass(frozen=True, slots=True)
class Inserted:
    """A thought after `insert`; `strengthened` where an equal one was there already."""

    thought: Thought
    strengthened: bool


@dataclass(frozen=True, slots=True)
class History:
    """A thought with all it came from and all it became.

    `sources` are its turns, `erased_sources` how many more were forgotten; `parents` were merged into it; `successors`
    took its place, nearest first; `replaced` are the thoughts it took the place of; `similar` are near in wording.
    """

    thought: Thought
    sources: tuple[Turn, ...]
    erased_sources: int
    parents: tuple[Thought, ...]
    successors: tuple[Thought, ...]
    replaced: tuple[Thought, ...]
    similar: tuple[Thought, ...]


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of one namespace; `waiting`, `parked`, `bytes` and `thinking` are of the whole store.

    `thinking` is what post-thinking cost and came to so far: exchanges, calls, prompt_tokens and answer_tokens (as far
    as the server counts them), faults of answers, statements refused, thoughts inserted, strengthened, retracted and
    merged, summaries.
    """

    sessions: int
    turns: int
    chunks: int
    thoughts: int
    retracted: int
    waiting: int
    parked: int
    bytes: int
    embedder: str | None
    thinking: Mapping[str, int] = field(default_factory=dict)
