"""What was decided about new statements, done to the store: insert, strengthen, retract, merge. Nothing is removed.

All of it happens in the caller's transaction, which takes the job off the queue too: it is done once, or not at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from agentmem import thoughts
from agentmem.errors import SecretError
from agentmem.interfaces import Writer
from agentmem.ledger import is_suppressed
from agentmem.thinking.checking import Note
from agentmem.thinking.comparing import Decision, Other
from agentmem.types import Namespace, Thought


class Applying:
    """Carries out decisions about the new statements of one namespace; `done` counts what was done."""

    def __init__(self, writer: Writer, namespace: Namespace, now: datetime) -> None:
        self._writer = writer
        self._namespace = namespace
        self._now = now
        self._made: dict[int, str] = {}
        self.done: Counter[str] = Counter()

    def apply(self, notes: Sequence[Note], decisions: Sequence[Decision]) -> None:
        jobs = {note.exchange.job.id for note in notes}
        left = {job.id for job in self._writer.get("job", sorted(jobs), namespace=self._namespace)}
        for place, (note, decision) in enumerate(zip(notes, decisions, strict=True)):
            if note.exchange.job.id in left:  # else its turn was forgotten, or another process was faster
                self._apply(place, note, decision)

    def _apply(self, place: int, note: Note, decision: Decision) -> None:
        draft = self._draft(note)
        if draft is None:
            return
        others = self._standing(decision.others)
        sources = [turn.id for turn in note.sources]
        if decision.action == "same" and others:
            thoughts.strengthen(self._writer, others[0], draft, sources=sources)
            self._made[place] = others[0].id
            self.done["strengthened"] += 1
            return
        inserted = thoughts.insert(self._writer, draft, sources=sources)
        self._made[place] = inserted.thought.id
        self.done["strengthened" if inserted.strengthened else "inserted"] += 1
        others = [other for other in others if other.id != inserted.thought.id]
        if decision.action == "replaces":
            self._replace(inserted.thought, others)
        elif decision.action == "merge" and others and all(map(self._current, decision.others)):
            self._merge(place, inserted.thought, others, decision.text)

    def _draft(self, note: Note) -> Thought | None:
        """The statement as a thought; None where it must not become one."""
        turns = self._writer.get("turn", [turn.id for turn in note.sources], namespace=self._namespace)
        if len(turns) < len(note.sources) or all(turn.status == "superseded" for turn in turns):
            return None  # forgotten or reworded meanwhile
        if is_suppressed(self._writer, thoughts.suppression_key(note.text), namespace=self._namespace):
            self.done["suppressed"] += 1
            return None
        given = {"head": note.head, "relation": note.relation, "tail": note.tail, "origin": note.origin}
        since = note.turn.occurred_at
        try:
            return thoughts.draft(
                note.text, namespace=self._namespace, now=self._now, valid_from=since, trusted=note.trusted, **given
            )
        except SecretError:
            self.done["secret"] += 1
            return None

    def _standing(self, others: Iterable[Other]) -> list[Thought]:
        """What they are now, each once: two that were shown apart may have become one."""
        found = (self._current(other) for other in others)
        return list({thought.id: thought for thought in found if thought is not None}.values())

    def _current(self, other: Other) -> Thought | None:
        """What a stored thought, or an earlier new one, is now, as far as it still stands."""
        wanted = self._made.get(other) if isinstance(other, int) else other.id
        found: list[Thought] = self._writer.get("thought", [wanted], namespace=self._namespace) if wanted else []
        while found and found[0].state == "merged" and found[0].superseded_by is not None:
            found = self._writer.get("thought", [found[0].superseded_by], namespace=self._namespace)
        return found[0] if found and found[0].state == "live" else None

    def _replace(self, new: Thought, others: Iterable[Thought]) -> None:
        """Of two that cannot both be true, the one that was so later holds: an old turn doesn't undo what is newer."""
        for other in others:
            older, newer = sorted((new, other), key=lambda thought: (thought.valid_from, thought is new))
            thoughts.retract(
                self._writer,
                older.id,
                namespace=self._namespace,
                now=self._now,
                superseded_by=newer.id,
                valid_to=newer.valid_from,
            )
            self.done["retracted"] += 1
            if older is new:
                return

    def _merge(self, place: int, new: Thought, others: Sequence[Thought], text: str) -> None:
        try:
            merged, _ = thoughts.merge(
                self._writer, [new.id, *(other.id for other in others)], text, namespace=self._namespace, now=self._now
            )
        except SecretError:
            self.done["secret"] += 1
            return
        self._made[place] = merged.id
        self.done["merged"] += 1
