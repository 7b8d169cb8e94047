"""A chunk's summary: one more key to its turns, derived from them and gone with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from agentmem.config import Settings
from agentmem.errors import ConflictError, InputError, NotFoundError, SecretError
from agentmem.indexes.vectors import make_index
from agentmem.interfaces import Matrix
from agentmem.memory import Memory
from agentmem.recall import RecallEngine
from agentmem.transfer import export_records, import_records
from agentmem.types import Chunk, RecallItem
from tests.integration.support import HashEmbedder, cli, said

NS = ("tests", "summaries")
TALK = ["We went up early", "It was cold and clear", "She said yes!", "Then soup for everybody"]
SUMMARY = "They hiked to the summit, where Mara agreed to marry Leo"
OTHER = "Leo married on the summit"


def opened(store: Path | str = "memory:", embedder: HashEmbedder | None = None) -> Memory:
    settings = Settings(store=str(store), chunk_turns=4)
    return Memory(store, embedder=embedder or HashEmbedder(), settings=settings)


def filled(memory: Memory) -> Chunk:
    """Two conversations of two chunks each; returns the chunk that SUMMARY is about."""
    for session in ("hike", "shopping"):
        for text in TALK if session == "hike" else [f"We bought {what}" for what in ("bread", "soap", "tea", "milk")]:
            memory.observe("user", text, session=session, namespace=NS)
        memory.observe("user", f"That was all of the {session}", session=session, namespace=NS)
    return memory.chunks(namespace=NS, session="hike")[0]


def summed_up(memory: Memory) -> Chunk:
    chunk = memory.summarize(filled(memory).id, SUMMARY, namespace=NS)
    memory.flush()
    return chunk


def lift(items: Sequence[RecallItem]) -> dict[str, float]:
    """What the summary's signal measures of each turn that it concerns."""
    return {i.text: round(s.value, 4) for i in items for s in i.signals if s.name == "summary"}


def ask(memory: Memory, query: str = SUMMARY) -> tuple[RecallItem, ...]:
    """To this embedder equal texts alone are near each other, so the summary itself is asked for."""
    return memory.recall(query, namespace=NS, k=20).items


def vectors(memory: Memory) -> list[str]:
    with memory.backend.read() as reader:
        return reader.vectors("chunk", namespace=NS)[0]


def test_a_summary_lifts_the_turns_of_its_chunk_and_no_others() -> None:
    with opened() as memory:
        chunk = filled(memory)
        memory.flush()
        before = ask(memory)
        assert lift(before) == {}
        assert memory.summarize(chunk.id, f" {SUMMARY}\n", namespace=NS).summary == SUMMARY
        memory.flush()
        after = ask(memory)
        assert set(lift(after)) == set(TALK)
        assert {item.text for item in after[:4]} == set(TALK)
        assert all(item.text != SUMMARY for item in after)
        assert "its chunk" in after[0].why
        for item in after:
            assert sum(signal.contribution for signal in item.signals) == pytest.approx(item.score, abs=1e-4)


@pytest.mark.parametrize("index", ["flat", "hnsw", "lsh", "auto"])
def test_in_a_large_namespace_a_summary_finds_its_turns(index: str) -> None:
    """The candidates are those that words, meaning or a summary point to; here the summary alone does."""
    with opened() as memory:
        chunk = summed_up(memory)
        memory.observe_many([said(f"agreed summit marry {n}") for n in range(600)], namespace=NS)
        memory.flush()
        engine = RecallEngine(memory.backend, whole=0, new_index=lambda: make_index(index))
        vector = HashEmbedder().encode([SUMMARY])[0]
        found = engine.recall("up", vector, namespace=NS, k=10)
        assert set(TALK) <= {item.text for item in found}
        memory.summarize(chunk.id, None, namespace=NS)
        again = engine.recall("up", vector, namespace=NS, k=10)
        assert lift(again) == {}


def test_it_goes_when_a_turn_is_forgotten_and_when_it_is_taken_away(tmp_path: Path) -> None:
    with opened(tmp_path / "memory.db") as memory:
        chunk = summed_up(memory)
        assert vectors(memory) == [chunk.id]
        turn = memory.turns(namespace=NS, session="hike")[1]
        assert memory.plan_forget([turn.id], namespace=NS).chunks == (chunk.id,)
        memory.forget([turn.id], namespace=NS)
        assert (memory.chunks(namespace=NS, session="hike")[0].summary, vectors(memory)) == (None, [])
        assert lift(ask(memory)) == {}
        memory.summarize(chunk.id, SUMMARY, namespace=NS)
        memory.flush()
        assert lift(ask(memory))
        assert memory.summarize(chunk.id, None, namespace=NS).summary is None
        assert (lift(ask(memory)), vectors(memory)) == ({}, [])
        assert memory.backend.check() == []


def test_another_process_sees_it_come_change_and_go(tmp_path: Path) -> None:
    with opened(tmp_path / "memory.db") as memory, opened(tmp_path / "memory.db") as other:
        assert ask(other) == ()
        chunk = summed_up(memory)
        assert min(lift(ask(other)).values()) > 0.5
        memory.summarize(chunk.id, OTHER, namespace=NS)
        memory.flush()
        assert max(lift(ask(other)).values(), default=0) < 0.5
        lifted = lift(ask(other, OTHER))
        assert set(lifted) == set(TALK)
        with opened(tmp_path / "memory.db") as fresh:
            assert lift(ask(fresh, OTHER)) == lifted == lift(ask(memory, OTHER))
        memory.summarize(chunk.id, None, namespace=NS)
        assert lift(ask(other, OTHER)) == {}


def test_it_waits_for_its_vector_like_a_turn_and_is_embedded_anew() -> None:
    with opened() as memory:
        chunk = filled(memory)
        memory.flush()
        memory.summarize(chunk.id, SUMMARY, namespace=NS)
        memory.summarize(chunk.id, SUMMARY, namespace=NS)  # said twice, one job
        memory.flush()
        assert vectors(memory) == [chunk.id]
        assert memory.reindex() == len(memory.turns(namespace=NS)) + 1
        assert vectors(memory) == [chunk.id]


class Interrupted(HashEmbedder):
    """Something happens while it embeds a summary."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: list[Callable[[], object]] = []

    def encode(self, texts: Sequence[str]) -> Matrix:
        if SUMMARY in texts and self.meanwhile:
            self.meanwhile.pop()()
        return super().encode(texts)


@pytest.mark.parametrize("how", ["forgotten", "taken away", "replaced", "rebuilt"])
def test_what_goes_while_it_is_embedded_leaves_no_vector(how: str, tmp_path: Path) -> None:
    embedder = Interrupted()
    with opened(tmp_path / "memory.db", embedder) as memory, opened(tmp_path / "memory.db") as other:
        chunk = filled(memory)
        memory.flush()
        turn = memory.turns(namespace=NS, session="hike")[0]
        happening: dict[str, Callable[[], object]] = {
            "forgotten": lambda: other.forget([turn.id], namespace=NS),
            "taken away": lambda: other.summarize(chunk.id, None, namespace=NS),
            "replaced": lambda: other.summarize(chunk.id, "Soup", namespace=NS),
            "rebuilt": lambda: _with_chunks_of(3, other),
        }
        embedder.meanwhile.append(happening[how])
        memory.summarize(chunk.id, SUMMARY, namespace=NS)
        memory.flush()
        other.flush()
        assert not embedder.meanwhile
        with memory.backend.read() as reader:
            found, held = reader.vectors("chunk", namespace=NS)
        wanted = HashEmbedder().encode(["Soup"])[0] if how == "replaced" else None
        assert found == ([] if wanted is None else [chunk.id])
        assert wanted is None or np.allclose(held[0], wanted)
        assert memory.stats(namespace=NS).waiting == 0
        assert memory.backend.check() == []


def _with_chunks_of(size: int, memory: Memory) -> None:
    memory.settings = Settings(store=memory.settings.store, chunk_turns=size)
    memory.rebuild_chunks(namespace=NS)


def test_rebuilding_keeps_the_chunks_that_stay_as_they_were_with_their_summaries() -> None:
    with opened() as memory:
        before = memory.chunks(namespace=NS)
        chunk = summed_up(memory)
        before = memory.chunks(namespace=NS)
        assert memory.rebuild_chunks(namespace=NS) == len(before)
        assert memory.chunks(namespace=NS) == before
        _with_chunks_of(3, memory)
        assert chunk.id not in [c.id for c in memory.chunks(namespace=NS)]
        assert [c.summary for c in memory.chunks(namespace=NS)] == [None] * 4
        assert (lift(ask(memory)), vectors(memory)) == ({}, [])


def test_it_moves_with_an_export_and_what_had_no_vector_gets_one(tmp_path: Path) -> None:
    with opened(tmp_path / "memory.db") as memory:
        chunk = summed_up(memory)
        export_records(memory.backend, tmp_path / "whole.jsonl", namespace=NS)
    with Memory(tmp_path / "memory.db", embedder=None) as memory:  # nobody embeds it behind our back
        memory.summarize(chunk.id, OTHER, namespace=NS)
        with memory.backend.write() as writer:
            jobs = [job.id for job in writer.select("job", namespace=NS)]
            writer.remove("job", jobs, namespace=NS)
        export_records(memory.backend, tmp_path / "bare.jsonl", namespace=NS)
    for name, text, waiting in (("whole", SUMMARY, 0), ("bare", OTHER, 1)):
        with opened() as copy:
            import_records(copy.backend, tmp_path / f"{name}.jsonl")
            assert copy.stats(namespace=NS).waiting == waiting
            copy.flush()
            assert set(lift(ask(copy, text))) == set(TALK)


def test_the_command_line_shows_it_where_its_turns_begin(tmp_path: Path) -> None:
    store = tmp_path / "memory.db"
    with opened(store) as memory:
        summed_up(memory)
    shown = ["sessions", "show", "hike", "--store", str(store), "--namespace", "tests/summaries"]
    lines = cli(*shown, home=tmp_path).stdout.splitlines()
    assert lines[0] == f"in short: {SUMMARY}"
    assert lines[2] == TALK[0]
    assert json.loads(cli(*shown, "--json", home=tmp_path).stdout)["summaries"] == [
        {"first_seq": 0, "summary": SUMMARY}
    ]


def test_what_is_no_summary_is_refused() -> None:
    with opened() as memory:
        chunk = filled(memory)
        still_open = memory.chunks(namespace=NS, session="shopping")[-1]
        for text, error in (("", InputError), (" \n", InputError), ("The PIN is 4711.", SecretError)):
            with pytest.raises(error):
                memory.summarize(chunk.id, text, namespace=NS)
        with pytest.raises(ConflictError, match="still open"):
            memory.summarize(still_open.id, "Too early", namespace=NS)
        with pytest.raises(NotFoundError):
            memory.summarize("nowhere", "Nothing", namespace=NS)
        with pytest.raises(NotFoundError):
            memory.summarize(chunk.id, "Another's", namespace=("tests", "elsewhere"))
        assert all(c.summary is None for c in memory.chunks(namespace=NS))


def test_without_an_embedder_it_is_kept_and_does_no_harm() -> None:
    with Memory("memory:", embedder=None, settings=Settings(store="memory:", chunk_turns=4)) as memory:
        memory.summarize(filled(memory).id, SUMMARY, namespace=NS)
        assert memory.recall("cold and clear", namespace=NS).items[0].text == TALK[1]
