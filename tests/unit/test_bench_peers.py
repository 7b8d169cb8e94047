"""The comparison with other stores runs: agentmem's own adapter, a peer that loses what it acknowledged, and one
that is not there."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.peers.__main__ import OURS, PEERS, stores
from benchmarks.peers.corpus import synthetic
from benchmarks.peers.measure import Bench, Peer, Row, compare, traced
from benchmarks.peers.protocol import Corpus
from benchmarks.peers.table import notes, table

TINY = Peer("tiny", "tests.unit.tiny_peer:TinyStore")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return synthetic(tmp_path_factory.mktemp("peers") / "corpus", 50, queries=10, extra=60)


def measured(peers: Sequence[Peer], corpus: Corpus, place: Path) -> list[Row]:
    return compare([Bench(peer, corpus, place / peer.name, rounds=1) for peer in peers], print, starts=1)


def test_the_dense_stage_alone_is_the_exact_scan(corpus: Corpus, tmp_path: Path) -> None:
    dense = measured([Peer("dense", OURS["agentmem, dense"])], corpus, tmp_path)[0]
    assert dense.error == ""
    assert dense.figures["exact"] == 1


def test_it_runs_from_the_corpus_to_the_table(corpus: Corpus, tmp_path: Path) -> None:
    peers = [Peer("agentmem", OURS["agentmem"]), TINY, Peer("absent", TINY.adapter, Path("no-such-python"))]
    own, tiny, absent = measured(peers, corpus, tmp_path)
    assert (own.error, tiny.error) == ("", "")
    assert "no-such-python" in absent.error
    for row in (own, tiny):
        assert row.figures["wrong"] == 0
        assert min(row.figures[name] for name in ("adds", "batch", "deletes", "p50", "first", "megabytes")) > 0
    assert tiny.figures["exact"] == 1
    assert (own.figures["survived"], tiny.figures["survived"]) == (1, 0)
    assert tiny.figures["lost"][0] == tiny.figures["acknowledged"][0] > 0
    assert (own.figures["readable"], tiny.figures["readable"]) == (0, 0)
    assert own.figures["durable"] in (True, None)
    assert tiny.figures["durable"] in (False, None)
    rows = [own, tiny, absent]
    shown = "\n".join(notes(rows, ["agentmem"]))
    assert "absent: could not run: no-such-python" in shown
    assert "tiny: after SIGKILL, items lost in 1 of 1" in shown
    console = Console(file=io.StringIO(), width=120)
    console.print(table(rows, "50 items"))
    assert isinstance(console.file, io.StringIO)
    assert "evidence@10" in console.file.getvalue()


def test_a_trace_tells_which_files_were_not_synced(tmp_path: Path) -> None:
    store, mark = tmp_path / "store", tmp_path / "marks"
    calls = [
        "1 write(4</a/b>, x",
        f"1 fsync(9<{mark}>)",
        f"1 pwrite64(5<{store}/x-wal>, y",
        f"2 fdatasync(5<{store}/x-wal>",
    ]
    synced = [*calls, f"1 fsync(9<{mark}>)"]
    assert traced(synced, store) == {"durable": True, "syncs": 1.0, "unsynced": []}
    one_more = [*synced, f"1 write(6<{store}/.tmpAb3>, z", f"1 fsync(9<{mark}>)"]
    assert traced(one_more, store) == {"durable": False, "syncs": 0.5, "unsynced": [".tmp…"]}


def test_the_peers_python_may_be_named_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make bench-peers` does: children work elsewhere."""
    monkeypatch.chdir(tmp_path)
    assert {peer.python for peer in stores(Path("venv/bin/python"))[len(OURS) :]} == {tmp_path / "venv/bin/python"}


def test_every_adapter_is_there(repository: Path) -> None:
    """Those of the peers cannot be imported here: their packages live in another environment."""
    for adapter in (*OURS.values(), *PEERS.values()):
        module, _, name = adapter.partition(":")
        assert f"class {name}(" in (repository / (module.replace(".", "/") + ".py")).read_text("utf-8")
