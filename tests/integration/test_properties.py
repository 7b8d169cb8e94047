"""Any sequence of operations on a real SQLite file leaves what a plain model says, and keeps DESIGN.md's invariants.

AGENTMEM_PROPERTY_EXAMPLES sets how many sequences are tried (500, say), other ones each time.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from agentmem.config import Settings
from agentmem.errors import ConflictError, NotFoundError
from agentmem.interfaces import Embedder
from agentmem.memory import Memory
from agentmem.types import Namespace, NewTurn, Recollection
from tests.integration.model import Held, Model, Said
from tests.integration.support import HashEmbedder, faults, said, word

EXAMPLES = int(os.environ.get("AGENTMEM_PROPERTY_EXAMPLES", "20"))
LONG = "AGENTMEM_PROPERTY_EXAMPLES" in os.environ
NAMESPACES: list[Namespace] = [("a", "bc"), ("ab", "c")]
# Mostly one, or the sequences would be short in both.
namespaces = st.sampled_from([NAMESPACES[0], *NAMESPACES, *NAMESPACES[:1] * 3])
picks = st.integers(min_value=0, max_value=1000)
few = st.lists(picks, min_size=1, max_size=3)


def chosen(items: Any, picks: list[int]) -> list[Any]:
    """Items by number, each once."""
    pool = list(items)
    return list(dict.fromkeys(pool[n % len(pool)] for n in picks)) if pool else []


class MemoryMachine(RuleBasedStateMachine):
    """A memory, another one on the same file that only reads, and a model for each of two namespaces."""

    embedder: Embedder | None = None
    repeats = True

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = str(Path(self.folder.name) / "memory.db")
        self.models = {namespace: Model() for namespace in NAMESPACES}
        self.words = 0
        self.summed_up: dict[str, list[str]] = {}
        self.memory = self.open()
        self.other = self.open()

    def open(self) -> Memory:
        return Memory(self.store, embedder=self.embedder, settings=Settings(store=self.store, chunk_turns=3))

    def teardown(self) -> None:
        self.memory.close()
        self.other.close()
        self.folder.cleanup()

    def new_word(self) -> str:
        self.words += 1
        return word(self.words)

    @initialize(thoughts=st.integers(0, 5))
    def furnish(self, thoughts: int) -> None:
        """Something to work on: most operations need turns or thoughts."""
        for ns in NAMESPACES:
            for _ in range(4):
                self.observe(ns, "x")
            for number in range(thoughts):
                self.insert(ns, [number], None)

    # -- the ledger ---------------------------------------------------------------------------------------------

    @rule(ns=namespaces, session=st.sampled_from("xyz"))
    def observe(self, ns: Namespace, session: str) -> None:
        new = self.new_word()
        self.note(
            ns, self.memory.observe("user", f"There was {new} outside", namespace=ns, session=session).id, new, session
        )

    def note(self, ns: Namespace, turn: str, new: str, session: str, key: tuple[str, str] | None = None) -> None:
        text = self.memory.get_turn(turn, namespace=ns).text
        self.models[ns].turns[turn] = Said(turn, text, new, session, key)

    @rule(ns=namespaces, session=st.sampled_from("xyz"), numbers=st.lists(st.integers(0, 6), min_size=1, max_size=6))
    def observe_many(self, ns: Namespace, session: str, numbers: list[int]) -> None:
        model, batch, expected = self.models[ns], [], {"added": 0, "known": 0, "suppressed": 0}
        there = {t.key for t in model.turns.values()}
        fresh: list[tuple[tuple[str, str], str]] = []
        for number in numbers:
            key, new = (f"file{number % 2}", f"id{number}"), self.new_word()
            batch.append(self.external(key, new, session))
            if key in there:
                expected["known"] += 1
            elif key in model.suppressed_keys:
                expected["suppressed"] += 1
            else:
                expected["added"] += 1
                there.add(key)
                fresh.append((key, new))
        done = self.memory.observe_many(batch, namespace=ns)
        assert {"added": len(done.added), "known": done.known, "suppressed": done.suppressed} == expected
        for turn, (key, new) in zip(done.added, fresh, strict=True):
            self.note(ns, turn.id, new, session, key)

    def external(self, key: tuple[str, str], new: str, session: str) -> NewTurn:
        return said(f"They brought {new} along", session=session, source=key[0], external_id=key[1])

    @precondition(lambda self: self.has("turns", "thoughts"))
    @rule(ns=namespaces, pick=picks, session=st.sampled_from("xy"), thought_of=st.booleans())
    def observe_echo(self, ns: Namespace, pick: int, session: str, thought_of: bool) -> None:
        model = self.models[ns]
        for told in chosen([*model.turns.values(), *model.thoughts.values()], [pick]):
            new = self.new_word()
            turn = self.memory.observe("assistant", f"You said {told.text}, {new}.", namespace=ns, session=session)
            self.note(ns, turn.id, new, session)
            if thought_of:
                self.insert(ns, [len(model.turns) - 1], None)

    @precondition(lambda self: self.has("turns"))
    @rule(ns=namespaces, pick=picks)
    def supersede_turn(self, ns: Namespace, pick: int) -> None:
        model = self.models[ns]
        for turn in chosen(model.turns.values(), [pick]):
            self.memory.set_status(turn.id, "superseded", namespace=ns)
            model.turns[turn.id] = Said(turn.id, turn.text, turn.word, turn.session, turn.key, superseded=True)

    # -- thoughts -----------------------------------------------------------------------------------------------

    @rule(ns=namespaces, sources=st.lists(picks, max_size=2), old=st.none() | picks)
    def insert(self, ns: Namespace, sources: list[int], old: int | None) -> None:
        model, new = self.models[ns], self.new_word()
        turns = [t.id for t in chosen(model.turns.values(), sources)]
        before = chosen(model.in_state("live"), [old]) if old is not None else []
        text = f"The {new} is known."
        done = self.memory.insert(
            text, namespace=ns, sources=turns, supersedes=before[0].id if before else None, head=new, tail="thing"
        )
        assert not model.insert(Held(done.thought.id, text, new, sources=frozenset(turns)))
        assert not done.strengthened
        for thought in before:
            model.retract(thought.id, self.newest_operation(ns))

    def newest_operation(self, ns: Namespace) -> str:
        with self.memory.backend.read() as reader:
            ids: list[str] = [operation.id for operation in reader.select("operation", namespace=ns)]
            return max(ids)

    @precondition(lambda self: self.has("thoughts"))
    @rule(ns=namespaces, pick=picks, sources=st.lists(picks, max_size=2), form=st.sampled_from(["{}", " {} ", "{}!"]))
    def say_again(self, ns: Namespace, pick: int, sources: list[int], form: str) -> None:
        model = self.models[ns]
        for thought in chosen(model.in_state("live", "retracted"), [pick]):
            turns = [t.id for t in chosen(model.turns.values(), sources)]
            text = form.format(thought.text.rstrip(".")).upper()
            done = self.memory.insert(text, namespace=ns, sources=turns)
            again = Held(done.thought.id, thought.text, thought.word, sources=frozenset(turns))
            assert done.strengthened == model.insert(again)
            assert done.thought.strength == model.thoughts[done.thought.id].strength

    @precondition(lambda self: self.has("thoughts"))
    @rule(ns=namespaces, picked=st.lists(picks, min_size=2, max_size=3))
    def merge(self, ns: Namespace, picked: list[int]) -> None:
        model, new = self.models[ns], self.new_word()
        parents = [t.id for t in chosen(model.in_state("live"), picked)]
        if len(parents) > 1:
            text = f"All of it was {new} together."
            merged, operation = self.memory.merge(parents, text, namespace=ns)
            model.merge(merged.id, text, new, parents, operation.id)

    @precondition(lambda self: self.has("thoughts"))
    @rule(ns=namespaces, picked=st.lists(picks, min_size=1, max_size=2))
    def retract(self, ns: Namespace, picked: list[int]) -> None:
        found = chosen(self.models[ns].in_state("live"), picked)
        if found:
            by = found[1].id if len(found) > 1 else None
            operation = self.memory.retract(found[0].id, namespace=ns, superseded_by=by)
            self.models[ns].retract(found[0].id, operation.id)

    @rule(ns=namespaces)
    def undo_newest(self, ns: Namespace) -> None:
        self.undo(ns, None)

    @precondition(lambda self: self.has("operations"))
    @rule(ns=namespaces, which=picks)
    def undo_any(self, ns: Namespace, which: int) -> None:
        self.undo(ns, which)

    def undo(self, ns: Namespace, which: int | None) -> None:
        model = self.models[ns]
        if not model.operations:
            with pytest.raises(NotFoundError):
                self.memory.undo(namespace=ns)
            return
        done = model.operations[-1] if which is None else chosen(model.operations, [which])[0]
        if model.can_undo(done):
            self.memory.undo(None if which is None else done.id, namespace=ns)
            model.undo(done)
        else:
            with pytest.raises(ConflictError):
                self.memory.undo(done.id, namespace=ns)

    # -- forgetting ---------------------------------------------------------------------------------------------

    @precondition(lambda self: self.has("turns", "thoughts"))
    @rule(ns=namespaces, picked=few, previewed=st.booleans())
    def forget(self, ns: Namespace, picked: list[int], previewed: bool) -> None:
        model = self.models[ns]
        named = chosen([*model.turns, *model.thoughts], picked)
        if named:
            self.carry_out(ns, named, keep_source=False, previewed=previewed)

    @precondition(lambda self: self.has("thoughts"))
    @rule(ns=namespaces, picked=few)
    def forget_but_keep_source(self, ns: Namespace, picked: list[int]) -> None:
        named = chosen(self.models[ns].thoughts, picked)
        if named:
            self.carry_out(ns, named, keep_source=True, previewed=False)

    def carry_out(self, ns: Namespace, named: list[str], *, keep_source: bool, previewed: bool) -> None:
        model = self.models[ns]
        gone = model.to_forget(named, keep_source=keep_source, repeats=self.repeats)
        how: dict[str, Any] = {"keep_source": keep_source, "repeats": self.repeats}
        what: Any = self.memory.plan_forget(named, namespace=ns, **how) if previewed else named
        receipt = self.memory.forget(what, namespace=ns, **how)
        assert set(receipt.forgotten["turns"]) == gone.turns
        assert set(receipt.forgotten["thoughts"]) == gone.thoughts
        assert receipt.erased == "done"
        model.forget(gone, keep_source=keep_source)

    @precondition(lambda self: any(m.suppressed_texts for m in self.models.values()))
    @rule(ns=namespaces, pick=picks)
    def derive_what_was_forgotten(self, ns: Namespace, pick: int) -> None:
        for text in chosen(self.models[ns].suppressed_texts, [pick]):
            with pytest.raises(ConflictError):
                self.memory.insert(text.upper(), namespace=ns, origin="agent")

    # -- the store ----------------------------------------------------------------------------------------------

    @rule()
    def reopen(self) -> None:
        self.memory.close()
        self.memory = self.open()

    @rule(ns=namespaces)
    def rebuild_chunks(self, ns: Namespace) -> None:
        self.memory.rebuild_chunks(namespace=ns)

    @rule(ns=namespaces, pick=picks)
    def summarize(self, ns: Namespace, pick: int) -> None:
        closed = [chunk for chunk in self.memory.chunks(namespace=ns) if chunk.last_seq is not None]
        for chunk in chosen(closed, [pick]):
            self.memory.summarize(chunk.id, f"of {self.new_word()}", namespace=ns)
            turns = self.memory.turns(namespace=ns, session=chunk.session)
            self.summed_up[chunk.id] = [t.id for t in turns if chunk.first_seq <= t.seq <= (chunk.last_seq or 0)]

    @rule(anew=st.booleans())
    def embed(self, anew: bool) -> None:
        if self.embedder is not None:
            self.memory.reindex() if anew else self.memory.flush()
            assert self.memory.stats(namespace=NAMESPACES[0]).waiting == 0
            self.compare(wait=None)

    def has(self, *names: str) -> bool:
        return any(getattr(model, name) for model in self.models.values() for name in names)

    # -- what must hold after every step ------------------------------------------------------------------------

    @invariant()
    def ledger_is_the_models(self) -> None:
        for ns, model in self.models.items():
            for session in "xyz":
                held = self.memory.turns(namespace=ns, session=session)
                assert [t.id for t in held] == [t.id for t in model.turns.values() if t.session == session]
                assert [t.text for t in held] == [t.text for t in model.turns.values() if t.session == session]

    @invariant()
    def thoughts_are_the_models(self) -> None:
        for ns, model in self.models.items():
            held = self.memory.thoughts(namespace=ns, state=None)
            assert {t.id: (t.state, t.strength) for t in held} == {
                t.id: (t.state, t.strength) for t in model.thoughts.values()
            }
            for thought in held:
                history, wanted = self.memory.history(thought.id, namespace=ns), model.thoughts[thought.id]
                assert {t.id for t in history.sources} == wanted.sources & model.turns.keys()
                assert history.erased_sources == len(wanted.sources - model.turns.keys())
                assert {t.id for t in history.parents} == set(wanted.parents)

    @invariant()
    def summaries_last_as_long_as_all_their_turns(self) -> None:
        for ns, model in self.models.items():
            for chunk in self.memory.chunks(namespace=ns):
                whole = chunk.id in self.summed_up and set(self.summed_up[chunk.id]) <= model.turns.keys()
                assert (chunk.summary is not None) == whole

    @invariant()
    def nothing_is_half_there(self) -> None:
        for ns in self.models:
            assert faults(self.memory, ns) == []

    @invariant()
    def recall_finds_what_is_there(self) -> None:
        for ns, model in self.models.items():
            shown = [(t.word, t.id) for t in list(model.turns.values())[-6:] if not t.superseded]
            shown += [(t.word, t.id) for t in model.in_state("live")[-4:]]
            for wanted, record in shown:
                found = self.memory.recall(wanted, namespace=ns, wait=0)
                assert record in [i.id for i in found.items] or self.collapsed(wanted, found), f"{wanted} is not found"

    @staticmethod
    def collapsed(wanted: str, found: Recollection) -> bool:
        """Records of the same words may stand as one."""
        return any(wanted in item.text.lower() for item in found.items)

    @invariant()
    def recall_finds_nothing_else(self) -> None:
        for ns, model in self.models.items():
            off = [t.word for t in model.in_state("retracted", "merged")]
            left = " ".join([t.text for t in model.turns.values() if not t.superseded])
            left += " ".join(t.text for t in model.in_state("live"))
            lost = [w for w in [*sorted(model.forgotten)[-6:], *off[-4:]] if w not in left.lower()]
            foreign = [
                t.word for other in NAMESPACES if other != ns for t in list(self.models[other].turns.values())[-3:]
            ]
            for absent in [*lost, *foreign]:
                found = self.memory.recall(absent, namespace=ns, wait=0)
                assert absent not in " ".join(item.text for item in found.items).lower()

    @invariant()
    def caches_equal_a_fresh_one(self) -> None:
        # With an embedder, vectors arrive between two answers: `embed` compares when all are there.
        if self.embedder is None:
            self.compare(wait=0)

    def compare(self, *, wait: float | None) -> None:
        with self.open() as fresh:
            for ns, model in self.models.items():
                asked = [t.word for t in list(model.turns.values())[-2:]] + sorted(model.forgotten)[-1:]
                for query in [f"what was {' '.join(asked)} outside", "thing known together"]:
                    answers = [self.answer(m, query, ns, wait) for m in (self.memory, self.other, fresh)]
                    assert answers[0] == answers[1] == answers[2]

    @staticmethod
    def answer(memory: Memory, query: str, ns: Namespace, wait: float | None) -> list[tuple[str, str, str, float]]:
        found = memory.recall(query, namespace=ns, wait=wait)
        return sorted((i.id, i.kind, i.text, round(i.score, 4)) for i in found.items)


class EmbeddedMachine(MemoryMachine):
    """With vectors, which the workers of both memories set in the background."""

    embedder = HashEmbedder()


def run(machine: type[RuleBasedStateMachine], examples: int, steps: int) -> None:
    limits = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=not LONG,
        # Shrinking may take minutes: the long form is there to find a short sequence.
        phases=list(Phase) if LONG else [Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    run_state_machine_as_test(machine, settings=limits)


@pytest.mark.timeout(60 + 6 * EXAMPLES)
def test_any_sequence_keeps_the_invariants() -> None:
    run(MemoryMachine, EXAMPLES, 30)


@pytest.mark.timeout(60 + 6 * EXAMPLES)
def test_any_sequence_with_vectors_keeps_the_invariants() -> None:
    run(EmbeddedMachine, max(2, EXAMPLES // 2), 30)


@pytest.mark.timeout(120)
def test_a_few_sequences_with_the_bundled_embedder() -> None:
    from agentmem.embed import load_embedder

    # The machine's sentences are all alike to MiniLM: what counts as a repeat is then the embedder's to say.
    bundled = type("BundledMachine", (MemoryMachine,), {"embedder": load_embedder(), "repeats": False})
    run(bundled, 2, 15)
