"""What a namespace should hold after any sequence of operations, said in the plainest way: sets and loops, no store.

It follows DESIGN.md ("Invariants", "What forget means"), not the library's code.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Said:
    """A turn: `word` stands in no other text but those that repeat it."""

    id: str
    text: str
    word: str
    session: str
    key: tuple[str, str] | None = None
    superseded: bool = False


@dataclass(frozen=True)
class Held:
    """A thought; `parents` were merged into it, `into` is what it was merged into."""

    id: str
    text: str
    word: str
    state: str = "live"
    strength: int = 1
    sources: frozenset[str] = frozenset()
    parents: tuple[str, ...] = ()
    into: str | None = None


@dataclass(frozen=True)
class Done:
    """An operation that can be undone."""

    id: str
    thought: str
    parents: tuple[str, ...] = ()


@dataclass
class Gone:
    """What a forget takes."""

    turns: set[str]
    thoughts: set[str]


@dataclass
class Model:
    turns: dict[str, Said] = field(default_factory=dict)
    thoughts: dict[str, Held] = field(default_factory=dict)
    operations: list[Done] = field(default_factory=list)
    suppressed_keys: set[tuple[str, str]] = field(default_factory=set)
    suppressed_texts: dict[str, str] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)

    def in_state(self, *states: str) -> list[Held]:
        return [t for t in self.thoughts.values() if t.state in states]

    def live_equal(self, text: str) -> Held | None:
        return next((t for t in self.in_state("live") if t.text == text), None)

    def change(self, thought: str, **how: object) -> Held:
        self.thoughts[thought] = replace(self.thoughts[thought], **how)  # type: ignore[arg-type]
        return self.thoughts[thought]

    # -- operations ---------------------------------------------------------------------------------------------

    def insert(self, thought: Held) -> bool:
        """Returns whether an equal live one was strengthened."""
        self.suppressed_texts.pop(thought.text, None)
        equal = self.live_equal(thought.text)
        if equal is None:
            self.thoughts[thought.id] = thought
            return False
        self.change(equal.id, strength=equal.strength + 1, sources=equal.sources | thought.sources)
        return True

    def merge(self, merged: str, text: str, word: str, parents: list[str], operation: str) -> None:
        held = [self.thoughts[i] for i in parents]
        sources = frozenset().union(*(t.sources for t in held))
        strength = sum(t.strength for t in held)
        for parent in parents:
            self.change(parent, state="merged", into=merged)
        self.thoughts[merged] = Held(merged, text, word, "live", strength, sources, tuple(parents))
        self.operations.append(Done(operation, merged, tuple(parents)))

    def retract(self, thought: str, operation: str) -> None:
        self.change(thought, state="retracted")
        self.operations.append(Done(operation, thought))

    def can_undo(self, done: Done) -> bool:
        named = [self.thoughts.get(i) for i in (done.thought, *done.parents)]
        wanted = ["live", *("merged" for _ in done.parents)] if done.parents else ["retracted"]
        return [t and t.state for t in named] == wanted

    def undo(self, done: Done) -> None:
        self.operations.remove(done)
        if done.parents:
            del self.thoughts[done.thought]
        for thought in done.parents or (done.thought,):
            self.revive(thought)

    def revive(self, thought: str) -> None:
        """Live again; or, where the same was said anew meanwhile, part of that."""
        back = self.thoughts[thought]
        equal = self.live_equal(back.text)
        if equal is None:
            self.change(thought, state="live", into=None)
            return
        self.change(equal.id, strength=equal.strength + back.strength, sources=equal.sources | back.sources)
        del self.thoughts[thought]

    # -- forgetting ---------------------------------------------------------------------------------------------

    def to_forget(self, named: Iterable[str], *, keep_source: bool, repeats: bool = True) -> Gone:
        """What was named, what was derived from it, what it came from, and what says the same again, to the end."""
        named = set(named)
        gone = Gone(set(), set())
        whole = named & self.turns.keys()
        with_source = named & self.thoughts.keys()
        named_texts = [self.turns[i].text for i in whole]
        while True:
            size = (len(gone.turns), len(gone.thoughts), len(whole), len(with_source))
            self._follow(gone, whole, with_source, keep_source)
            if repeats:
                texts = {self.thoughts[i].text for i in gone.thoughts}
                with_source |= {t.id for t in self.thoughts.values() if t.text in texts} - gone.thoughts
            if not keep_source:
                # What repeats a named turn goes like it; what repeats a thought goes like a source of it.
                whole |= self._saying(named_texts)
                gone.turns |= self._saying([self.turns[i].text for i in gone.turns])
                gone.turns |= self._saying([self.thoughts[i].text for i in gone.thoughts])
            if size == (len(gone.turns), len(gone.thoughts), len(whole), len(with_source)):
                return gone

    def _follow(self, gone: Gone, whole: set[str], with_source: set[str], keep_source: bool) -> None:
        gone.turns |= whole
        gone.thoughts |= {t.id for t in self.thoughts.values() if t.sources & whole} | with_source
        for thought in list(with_source):
            with_source |= self._below(thought)
        gone.thoughts |= with_source
        while above := {t.id for t in self.thoughts.values() if set(t.parents) & gone.thoughts} - gone.thoughts:
            gone.thoughts |= above
        if not keep_source:
            gone.turns |= {s for i in with_source for s in self.thoughts[i].sources} & self.turns.keys()

    def _below(self, thought: str) -> set[str]:
        parents = set(self.thoughts[thought].parents)
        return parents.union(*(self._below(p) for p in parents)) if parents else parents

    def _saying(self, texts: Iterable[str]) -> set[str]:
        """Turns that hold one of these texts whole."""
        telling = [text.lower().rstrip(".") for text in texts]
        return {t.id for t in self.turns.values() if any(text in t.text.lower() for text in telling)}

    def forget(self, gone: Gone, *, keep_source: bool) -> None:
        went: list[Said | Held] = [*(self.turns[i] for i in gone.turns), *(self.thoughts[i] for i in gone.thoughts)]
        self.suppressed_keys |= {self.turns[i].key for i in gone.turns} - {None}  # type: ignore[arg-type]
        if keep_source:
            self.suppressed_texts |= {self.thoughts[i].text: self.thoughts[i].word for i in gone.thoughts}
        back = [t.id for t in self.thoughts.values() if t.into in gone.thoughts and t.id not in gone.thoughts]
        for turn in gone.turns:
            del self.turns[turn]
        for thought in gone.thoughts:
            del self.thoughts[thought]
        self.operations = [o for o in self.operations if not gone.thoughts & {o.thought, *o.parents}]
        for thought in back:
            self.revive(thought)
        left = " ".join([t.text for t in self.turns.values()] + [t.text for t in self.thoughts.values()])
        self.forgotten |= {record.word for record in went if record.word not in left}
