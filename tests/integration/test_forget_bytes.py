"""What was forgotten is found by no query and by no search for its bytes in any file of the store."""

from __future__ import annotations

import base64
import json
import random
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from agentmem.config import Settings
from agentmem.errors import ConflictError, NotFoundError
from agentmem.indexes.postings import Postings
from agentmem.interfaces import EmbedderIdentity, Matrix
from agentmem.memory import Memory
from agentmem.text import stems
from agentmem.types import Namespace
from tests.integration.support import NS, HashEmbedder, cli, faults, files_of, heard, said, start, word

OTHER: Namespace = ("ada", "work")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    return tmp_path / "store" / "memory.db"


def opened(store: Path, *, vectors: bool = True) -> Memory:
    settings = Settings(store=str(store), chunk_turns=3)
    return Memory(store, embedder=HashEmbedder() if vectors else None, settings=settings)


def forms(text: str) -> Iterator[bytes]:
    """The ways in which a text may be written down."""
    for shape in {text, text.lower(), text.upper(), text.casefold(), *stems(text)}:
        if len(shape) > 4:
            for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
                yield shape.encode(encoding, "surrogatepass")
            yield json.dumps(shape)[1:-1].encode()
    yield base64.b64encode(text.encode("utf-8", "surrogatepass"))[:-4]


def left_of(store: Path, texts: Sequence[str] = (), vectors: Sequence[Matrix] = ()) -> list[str]:
    """Where in the store's files a form of a text or a vector's bytes are found."""
    wanted = [(text, form) for text in texts for form in forms(text)]
    wanted += [("a vector", part) for v in vectors for part in vector_forms(v)]
    found = []
    for path in files_of(store):
        data = path.read_bytes()
        found += [f"{text!r} in {path.name} as {form[:40]!r}" for text, form in wanted if form in data]
    return found


def vector_forms(vector: Matrix) -> Iterator[bytes]:
    """A vector as float32 and as half floats: in parts, since a page may hold a piece of it."""
    for kind in ("<f4", "<f2"):
        data = np.asarray(vector).astype(kind).tobytes()
        yield from (data[at : at + 16] for at in range(0, len(data) - 16, 32))


def vector_of(text: str) -> Matrix:
    vector: Matrix = HashEmbedder().encode([text])[0]
    return vector


def secret(number: int) -> str:
    """A text that is nowhere else: letters, a capital, a non-ASCII letter and a quote to be escaped."""
    return f'Zq{word(number)} "{word(number + 7000)}" Größe{word(number + 14000)}'


def assert_gone(store: Path, memory: Memory, texts: Sequence[str], namespace: Namespace = NS) -> None:
    assert left_of(store, texts, [vector_of(text) for text in texts]) == []
    for text in texts:
        for query in (text, text.split()[0]):
            items = memory.recall(query, namespace=namespace, wait=None).items
            assert text not in [item.text for item in items]


def test_the_search_finds_what_is_there(store: Path) -> None:
    """The check can fail: before the forget, the text and its vector are in the files."""
    with opened(store) as memory:
        turn = memory.observe("user", secret(1), namespace=NS)
        memory.flush()
        assert left_of(store, [secret(1)])
        assert left_of(store, vectors=[vector_of(secret(1))])
        memory.forget([turn.id], namespace=NS)
        assert_gone(store, memory, [secret(1)])


def marks_in(store: Path) -> set[str]:
    """The first words of all `secret` texts in the store's files, in any case, as UTF-8 or UTF-16, in one pass."""
    found: set[str] = set()
    for path in files_of(store):
        data = path.read_bytes()
        found |= {mark.decode().lower() for mark in re.findall(rb"(?i)zq[a-z]+k", data)}
        wide = re.findall(rb"(?i)z\0q\0(?:[a-z]\0)+k\0", data) + re.findall(rb"(?i)\0z\0q(?:\0[a-z])+\0k", data)
        found |= {mark.replace(b"\0", b"").decode().lower() for mark in wide}
    return found


def mark_of(text: str) -> str:
    return text.split()[0].lower()


def snapshots_in(memory: Memory) -> int:
    with memory.backend.read() as reader:
        return sum(1 for _ in reader.snapshots("text", namespace=NS))


@pytest.mark.parametrize("seed", range(3))
def test_many_inserts_and_forgets_in_random_order(seed: int, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentmem.cache.Postings", partial(Postings, 16))
    chance, kept = random.Random(seed), 0
    number, live, gone = 0, dict[str, str](), list[str]()
    with opened(store) as memory:
        for _ in range(10):
            batch = []
            for _ in range(chance.randrange(5, 60)):
                number += 1
                filler = " filler" * chance.choice([0, 0, 1, 1, 30, 300, 1500])
                batch.append(said(secret(number) + filler, session=f"s{chance.randrange(4)}"))
            turns = memory.observe_many(batch, namespace=NS).added
            live |= {turn.id: turn.text for turn in turns}
            for turn in chance.sample(turns, 3):
                number += 1
                thought = memory.insert(secret(number), namespace=NS, sources=[turn.id]).thought
                live[thought.id] = thought.text
            if chance.random() < 0.6:
                memory.recall("filler", namespace=NS, wait=0)
                memory.flush()
                kept += snapshots_in(memory)
            named = chance.sample(sorted(live), min(len(live), chance.randrange(1, 25)))
            receipt = memory.forget(named, namespace=NS)
            assert receipt.erased == "done"
            went = [i for kind in ("turns", "thoughts") for i in receipt.forgotten[kind]]
            assert set(named) <= set(went)
            gone += [live.pop(i) for i in went]
            assert marks_in(store) == {mark_of(text) for text in live.values()}
            assert left_of(store, vectors=[vector_of(text) for text in gone[-5:]]) == []
        memory.flush()
        assert faults(memory, NS) == []
        assert {t.text for t in memory.turns(namespace=NS)} <= set(live.values())
    assert marks_in(store) == {mark_of(text) for text in live.values()}
    assert kept
    with opened(store) as memory:
        assert_gone(store, memory, [text.split(" filler")[0] for text in gone[:5]])
        for turn in memory.turns(namespace=NS)[:20]:
            assert turn.text == live[turn.id]
            assert turn.id in [i.id for i in memory.recall(turn.text.split()[0], namespace=NS, wait=0).items]


def test_every_field_of_a_turn_and_a_thought_goes(store: Path) -> None:
    names = [secret(n) for n in range(20, 31)]
    with opened(store) as memory:
        turn = memory.observe(
            "user",
            [
                {"type": "text", "text": names[0]},
                {"type": "image", "caption": names[1], "url": names[2]},
            ],
            namespace=NS,
            speaker=names[3],
            source=names[4],
            external_id=names[5],
            metadata={names[6]: names[7]},
        )
        memory.insert(names[8], namespace=NS, sources=[turn.id], head=names[9], relation="is", tail=names[10])
        memory.flush()
        memory.forget([turn.id], namespace=NS)
        assert left_of(store, names) == []


def test_a_turn_of_a_megabyte_goes_whole(store: Path) -> None:
    parts = [secret(n) for n in range(0, 18000, 9)]
    text = " ".join(parts)[:1_000_000] + " end" * 120_000
    with opened(store, vectors=False) as memory:
        memory.observe_many([said(f"something else {n}") for n in range(50)], namespace=NS)
        turn = memory.observe("user", text, namespace=NS)
        assert len(marks_in(store)) > 0.9 * len(parts)
        memory.forget([turn.id], namespace=NS)
        assert marks_in(store) == set()


def test_merged_thoughts_dissolve_and_the_other_parents_return(store: Path) -> None:
    with opened(store) as memory:
        turns = [memory.observe("user", secret(n), namespace=NS).id for n in (1, 2, 3)]
        made = [memory.insert(secret(10 + n), namespace=NS, sources=[turns[n]]).thought.id for n in range(3)]
        lower, _ = memory.merge(made[:2], secret(20), namespace=NS)
        memory.merge([lower.id, made[2]], secret(21), namespace=NS)
        memory.flush()
        receipt = memory.forget([made[0]], namespace=NS)
        assert set(receipt.restored) == {made[1], made[2]}
        assert {t.text for t in memory.thoughts(namespace=NS)} == {secret(11), secret(12)}
        assert [t.text for t in memory.turns(namespace=NS)] == [secret(2), secret(3)]
        assert_gone(store, memory, [secret(1), secret(10), secret(20), secret(21)])
        for text in (secret(11), secret(12)):
            assert text in [i.text for i in memory.recall(text, namespace=NS).items]
        with pytest.raises(NotFoundError):
            memory.undo(namespace=NS)


class PlacedEmbedder:
    """Puts texts where the test wants them, by their last word, on a circle."""

    identity = EmbedderIdentity("placed", 2, "placed")

    def encode(self, texts: Sequence[str]) -> Matrix:
        degrees = {"dawn": 0.0, "noon": 25.0, "dusk": 50.0}
        angles = np.radians([degrees.get(text.split()[-1], 180.0) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


@pytest.mark.parametrize("embedded", ["before the merge", "after the merge"])
def test_a_parent_that_only_resembles_the_merged_wording_comes_back(embedded: str, store: Path) -> None:
    """A merge is like what it was made of: that is no reason to take the parents that nobody named."""
    with opened(store, vectors=False) as memory:
        turns = [memory.observe("user", f"{word(n)} was said", namespace=NS).id for n in (1, 2)]
        texts = ["Ada has tea at dawn", "Ada has milk at dusk"]
        made = [memory.insert(t, namespace=NS, sources=[s]).thought.id for t, s in zip(texts, turns, strict=True)]
    if embedded == "before the merge":
        embed(store, PlacedEmbedder())
    with opened(store, vectors=False) as memory:
        memory.merge(made, "Ada has both by noon", namespace=NS)
    embed(store, PlacedEmbedder())
    with opened(store, vectors=False) as memory:
        receipt = memory.forget([made[0]], namespace=NS)
        assert receipt.restored == (made[1],)
        assert [t.text for t in memory.thoughts(namespace=NS)] == ["Ada has milk at dusk"]
        assert [t.id for t in memory.turns(namespace=NS)] == [turns[1]]


def embed(store: Path, embedder: PlacedEmbedder) -> None:
    with Memory(str(store), embedder=embedder) as memory:
        memory.flush()


def test_repeats_and_echoes_go_by_default_and_stay_on_request(store: Path) -> None:
    text = secret(1)
    with opened(store) as memory:
        turn = memory.observe("user", text, namespace=NS).id
        echo = memory.observe("user", f"as I said, {text.lower()}, and {secret(2)}", namespace=NS).id
        answer = memory.observe("assistant", f"You told me {text}", namespace=NS).id
        memory.record_recalled(answer, [("turn", turn)], namespace=NS)
        thought = memory.insert(f"Ada says {text}", namespace=NS, sources=[turn], head="Ada", tail=secret(3)).thought.id
        repeat = memory.insert(secret(4), namespace=NS, head="Ada", tail=secret(3)).thought.id
        bystander = memory.observe("user", secret(5), namespace=NS).id
        memory.flush()
        plan = memory.plan_forget([thought], namespace=NS)
        assert (set(plan.turns), set(plan.thoughts)) == ({turn}, {thought})
        assert set(plan.repeats) == {repeat}
        assert set(plan.echoes) == {echo, answer}
        memory.forget(plan, namespace=NS)
        assert [t.id for t in memory.turns(namespace=NS)] == [bystander]
        assert_gone(store, memory, [text, secret(2), secret(3), secret(4)])


def test_what_was_derived_from_an_echo_goes_with_it(store: Path) -> None:
    with opened(store) as memory:
        turn = memory.observe("user", secret(1), namespace=NS).id
        echo = memory.observe("user", f"I repeat: {secret(1)}", namespace=NS).id
        memory.insert(secret(2), namespace=NS, sources=[echo])
        memory.forget([turn], namespace=NS)
        assert memory.turns(namespace=NS) == []
        assert memory.thoughts(namespace=NS, state=None) == []
        assert_gone(store, memory, [secret(1), secret(2)])


def test_what_was_derived_after_the_preview_goes_too(store: Path) -> None:
    """Between the preview and the consent, post-thinking or another process may have made a thought of the turn."""
    with opened(store) as memory:
        turn = memory.observe("user", secret(1), namespace=NS).id
        plan = memory.plan_forget([turn], namespace=NS)
        memory.insert(secret(2), namespace=NS, sources=[turn])
        memory.forget(plan, namespace=NS)
        assert memory.thoughts(namespace=NS, state=None) == []
        assert_gone(store, memory, [secret(1), secret(2)])


def test_merged_after_the_preview_goes_too(store: Path) -> None:
    with opened(store) as memory:
        made = [memory.insert(secret(n), namespace=NS).thought.id for n in (1, 2)]
        plan = memory.plan_forget([made[0]], namespace=NS)
        memory.merge(made, f"{secret(1)} and {secret(2)}", namespace=NS)
        memory.forget(plan, namespace=NS)
        assert [t.text for t in memory.thoughts(namespace=NS, state=None)] == [secret(2)]
        assert faults(memory, NS) == []
        assert_gone(store, memory, [secret(1)])


def test_keep_source_survives_ingest_rebuild_and_reopening(store: Path) -> None:
    turn = said(f"I told you: {secret(1)}", source="file", external_id="1")
    with opened(store) as memory:
        (kept,) = memory.observe_many([turn], namespace=NS).added
        thought = memory.insert(secret(2), namespace=NS, sources=[kept.id]).thought
        receipt = memory.forget([thought.id], namespace=NS, keep_source=True)
        assert receipt.forgotten["turns"] == ()
        assert memory.observe_many([turn], namespace=NS).known == 1
        memory.rebuild_chunks(namespace=NS)
        memory.reindex()
    with opened(store) as memory:
        assert [t.text for t in memory.turns(namespace=NS)] == [kept.text]
        assert_gone(store, memory, [secret(2)])
        for said_again in (secret(2), secret(2).upper(), f"  {secret(2)}. "):
            with pytest.raises(ConflictError):
                memory.insert(said_again, namespace=NS, sources=[kept.id], origin="agent")
        memory.observe("user", "elsewhere", namespace=OTHER)
        assert memory.insert(secret(2), namespace=OTHER, origin="agent").thought.state == "live"


def test_a_forgotten_turn_is_not_ingested_again(store: Path) -> None:
    turns = [said(secret(n), source="file", external_id=str(n)) for n in range(5)]
    with opened(store) as memory:
        added = memory.observe_many(turns, namespace=NS).added
        memory.forget([added[2].id], namespace=NS)
    with opened(store) as memory:
        memory.rebuild_chunks(namespace=NS)
        again = memory.observe_many(turns, namespace=NS)
        assert (len(again.added), again.known, again.suppressed) == (0, 4, 1)
        with pytest.raises(ConflictError):
            memory.observe("user", secret(2), namespace=NS, source="file", external_id="2")
        assert_gone(store, memory, [secret(2)])


def test_undo_log_jobs_and_change_log_hold_no_content(store: Path) -> None:
    """The tables that must not hold content do not: everything but the bodies and vectors is searched."""
    texts = [secret(n) for n in range(6)]
    with opened(store, vectors=False) as memory:
        turn = memory.observe("user", texts[0], namespace=NS, speaker=texts[1], source=texts[2], external_id=texts[3])
        made = [memory.insert(t, namespace=NS, sources=[turn.id]).thought.id for t in texts[4:]]
        memory.merge(made, secret(7), namespace=NS)
        memory.retract(memory.insert(secret(8), namespace=NS).thought.id, namespace=NS)
        kept = memory.insert(secret(9), namespace=NS).thought
        memory.forget([kept.id], namespace=NS, keep_source=True)
        assert memory.backend.jobs()
    db = sqlite3.connect(store)
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    rows = {name: repr(db.execute(f'SELECT * FROM "{name}"').fetchall()) for name in tables if name != "bodies"}
    db.close()
    assert {"jobs", "operations", "changes"} <= rows.keys()
    for name, content in rows.items():
        for text in [*texts, secret(7), secret(8), secret(9)]:
            assert word(0)[:2] not in name
            assert not any(part in content for part in (text, json.dumps(text)[1:-1], *text.split())), (
                f"{text} in {name}"
            )


@contextmanager
def reading(store: Path, begin: str = "BEGIN") -> Iterator[None]:
    """Another process holds a transaction open on the store."""
    with start("reader_child", begin, store, home=store.parent.parent) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        next(heard(child.stdout))
        yield
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.wait(20) == 0


@pytest.mark.parametrize("by", ["flush", "open", "recall"])
def test_an_open_read_elsewhere_makes_the_receipt_pending(by: str, store: Path) -> None:
    with opened(store) as memory:
        turn = memory.observe("user", secret(1), namespace=NS)
        memory.observe("user", secret(2), namespace=NS)
        memory.flush()
        with reading(store):
            assert memory.forget([turn.id], namespace=NS).erased == "pending"
            items = memory.recall(secret(1), namespace=NS).items
            assert turn.id not in [item.id for item in items]
        if by == "flush":
            memory.flush()
        elif by == "recall":
            memory.recall("anything", namespace=NS)
        else:
            with opened(store):
                assert left_of(store, [secret(1)], [vector_of(secret(1))]) == []
        assert_gone(store, memory, [secret(1)])
        assert memory.backend.jobs(task="erase") == [] or by == "open"
    assert left_of(store, [secret(2)])


def test_pending_is_finished_after_a_restart(store: Path) -> None:
    with opened(store) as memory:
        turn = memory.observe("user", secret(1), namespace=NS)
        memory.flush()
        with reading(store):
            assert memory.forget([turn.id], namespace=NS).erased == "pending"
            memory.close()
    with opened(store) as memory:
        assert_gone(store, memory, [secret(1)])
        assert memory.backend.jobs(task="erase") == []


def test_erase_leaves_nothing_of_the_namespace_and_all_of_the_others(store: Path) -> None:
    namespace: Namespace = (secret(1), secret(2))
    with opened(store) as memory:
        turns = [memory.observe("user", secret(n), namespace=namespace, session=secret(3)).id for n in range(10, 30)]
        made = [memory.insert(secret(n), namespace=namespace, sources=[turns[0]]).thought.id for n in (30, 31)]
        memory.merge(made, secret(32), namespace=namespace)
        memory.forget(turns[5:7], namespace=namespace)
        memory.observe("user", secret(50), namespace=NS)
        memory.flush()
        receipt = memory.erase(namespace=namespace)
        assert receipt.erased == "done"
        assert set(receipt.forgotten["turns"]) == set(turns) - set(turns[5:7])
        names = [secret(n) for n in (1, 2, 3, *range(10, 33))]
        assert left_of(store, names, [vector_of(secret(n)) for n in range(10, 33)]) == []
        assert memory.namespaces() == [NS]
        assert [t.text for t in memory.turns(namespace=NS)] == [secret(50)]
        assert [i.text for i in memory.recall(secret(50), namespace=NS).items] == [secret(50)]
        assert faults(memory, NS) == []


def test_a_sessions_name_goes_with_its_last_turn(store: Path) -> None:
    """A session is often named after what was talked about."""
    with opened(store) as memory:
        turns = [memory.observe("user", secret(n), namespace=NS, session=secret(9)).id for n in range(4)]
        memory.observe("user", secret(5), namespace=NS, session="other")
        memory.forget(turns, namespace=NS)
        assert [s.session for s in memory.sessions(namespace=NS)] == ["other"]
        assert left_of(store, [secret(9)]) == []


def test_retention_by_age_leaves_no_byte(store: Path) -> None:
    now = datetime.now(UTC)
    with opened(store) as memory:
        for number in range(8):
            days = timedelta(days=30 * number)
            memory.observe("user", secret(number), namespace=NS, occurred_at=now - days, session=f"s{number % 2}")
        receipt = memory.expire(namespace=NS, older_than=timedelta(days=100))
        assert receipt is not None
        assert len(receipt.forgotten["turns"]) == 4
        assert_gone(store, memory, [secret(n) for n in range(4, 8)])
        assert {t.text for t in memory.turns(namespace=NS)} == {secret(n) for n in range(4)}


def test_forgotten_before_it_was_embedded(store: Path) -> None:
    with opened(store, vectors=False) as memory:
        turn = memory.observe("user", secret(1), namespace=NS)
        thought = memory.insert(secret(2), namespace=NS).thought
        memory.forget([turn.id, thought.id], namespace=NS)
    with opened(store) as memory:
        assert memory.flush() == 0
        assert_gone(store, memory, [secret(1), secret(2)])
        assert faults(memory, NS) == []


def test_the_command_line_leaves_no_byte_in_store_or_home(tmp_path: Path) -> None:
    """Settings, data, cache and log folders are searched too: logs never hold what was said."""
    home = tmp_path / "home"
    home.mkdir()
    store = home / "memory.db"
    text = f"Ada hid {secret(1)}"
    added = json.loads(
        cli("-v", "thoughts", "add", text, "--json", "--store", store, "--namespace", "ada", home=home).stdout
    )
    for arguments in (["recall", text], ["ask", text], ["stats"], ["doctor"]):
        done = cli("-v", *arguments, "--store", store, "--namespace", "ada", home=home)
        assert done.returncode == 0, done.stderr
        assert secret(1).split()[0] not in done.stderr, "a log line holds what was said"
    listed = json.loads(cli("recall", text, "--json", "--store", store, "--namespace", "ada", home=home).stdout)
    turns = [i["id"] for i in listed["items"] if i["kind"] == "turn"]
    done = cli("thoughts", "forget", added["id"], "--yes", "--json", "--store", store, "--namespace", "ada", home=home)
    assert done.returncode == 0, done.stderr
    receipt = json.loads(done.stdout)
    assert added["id"] in receipt["forgotten"]["thoughts"]
    assert {"turns", "chunks", "thoughts", "adapters"} <= receipt["forgotten"].keys()
    left = set(turns) - set(receipt["forgotten"]["turns"])
    if left:
        assert cli("forget", *left, "--yes", "--store", store, "--namespace", "ada", home=home).returncode == 0
    assert left_of(store, [secret(1)]) == []
