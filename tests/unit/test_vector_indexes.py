"""Every vector index against a plain dictionary, exact where it promises to be, and free of what was forgotten."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agentmem.config import Settings
from agentmem.errors import SettingsError, SnapshotError
from agentmem.indexes import hnsw
from agentmem.indexes.flat import FlatIndex
from agentmem.indexes.graphs import read_dump
from agentmem.indexes.hnsw import HnswIndex
from agentmem.indexes.lsh import LshIndex
from agentmem.indexes.vectors import EXACT_BELOW, DocumentIndex, make_index, read_index
from agentmem.memory import Memory

Matrix = NDArray[np.float32]

DIMENSION = 8
KINDS: dict[str, Callable[[], FlatIndex]] = {
    "flat": lambda: FlatIndex(segment=16),
    "hnsw": lambda: HnswIndex(segment=16, step=4),
    "hnsw compressed": lambda: HnswIndex(segment=16, step=4, compressed=True),
    "hnsw by graph": lambda: HnswIndex(segment=24, step=4),
    "lsh": lambda: LshIndex(segment=16, buckets=4, tables=2, probes=4),
}


def unit(vectors: NDArray[Any]) -> Matrix:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), dtype=np.float32)


def clustered(count: int, dimension: int = 64, *, seed: int = 0) -> Matrix:
    """Vectors about 50 centres, as texts gather about topics."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((50, dimension))
    return unit(centres[random.integers(50, size=count)] + random.standard_normal((count, dimension)))


def numbers(*docs: int) -> NDArray[np.intp]:
    return np.array(docs, dtype=np.intp)


def build(index: DocumentIndex) -> int:
    """Everything that waits, built and adopted; how many steps it took."""
    steps = 0
    while work := index.pending():
        assert work.run()
        assert index.adopt(work)
        steps += 1
    return steps


def filled(index: FlatIndex, vectors: Matrix) -> FlatIndex:
    index.set(np.arange(len(vectors)), vectors)
    build(index)
    return index


def storage(index: FlatIndex) -> list[NDArray[Any]]:
    """The rows as FAISS reads them and as numpy does."""
    held = [segment.codes for segment in index._segments]
    for segment in index._segments:
        if segment.graph:
            read: Any = faiss.downcast_index(segment.graph._index.storage)
            codes = read.codes
            held.append(faiss.rev_swig_ptr(codes.data(), codes.size()).reshape(-1, segment.codes.strides[0]))
    return held


Step = tuple[str, Any]
DOC = st.integers(0, 60)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.lists(DOC, min_size=1, max_size=30)),
        st.tuples(st.just("clear"), st.lists(DOC, min_size=1, max_size=8)),
        st.tuples(st.just("begin"), st.none()),
        st.tuples(st.just("adopt"), st.none()),
        st.tuples(st.just("reopen"), st.none()),
    ),
    max_size=25,
)


class Model:
    """A dictionary beside an index: the same steps, and then the same answers."""

    def __init__(self, kind: str, seed: int) -> None:
        self.kind, self.index = kind, KINDS[kind]()
        self.held: dict[int, Matrix] = {}
        self.random = np.random.default_rng(seed)
        self.begun: Any = None
        # One byte a component: at most half a step of the range (1 at least, as 6 / sqrt(8) > 1) in every component.
        self.error = 0.05 if "compressed" in kind else 1e-5

    def take(self, step: Step) -> None:
        name, docs = step
        if name == "set":
            vectors = self.draw(len(docs))
            self.index.set(numbers(*docs), vectors)
            self.held |= dict(zip(docs, vectors, strict=True))
        elif name == "clear":
            for doc in docs:
                self.index.clear(doc)
                self.held.pop(doc, None)
        elif name == "begin":
            self.begun = self.index.pending()
            assert self.begun is None or self.begun.run()
        elif name == "adopt" and self.begun:
            self.index.adopt(self.begun)
            self.begun = None
        elif name == "reopen":
            self.reopen()

    def draw(self, count: int) -> Matrix:
        """Half of them new, half from a few, up to what embedding in another batch changes."""
        few = np.random.default_rng(5).standard_normal((3, DIMENSION))[self.random.integers(3, size=count)]
        new = self.random.standard_normal((count, DIMENSION))
        shake = 1e-7 * self.random.standard_normal((count, DIMENSION))
        return unit(np.where(self.random.random((count, 1)) < 0.5, few + shake, new))

    def reopen(self) -> None:
        """Another index: the vectors set anew, the graphs from what was saved of them."""
        saved = [sealed.dump() for sealed in self.index.sealed()]
        self.index, self.begun = KINDS[self.kind](), None
        if self.held:
            docs = sorted(self.held)
            self.index.set(numbers(*docs), np.stack([self.held[doc] for doc in docs]))
        for blob in saved:
            dump = read_dump(blob)
            if set(dump.docs.tolist()) & set(self.held):
                self.index.load(dump)

    def compare(self) -> None:
        size, vector = 70, unit(self.random.standard_normal(DIMENSION).astype(np.float32))
        true = np.array([self.held[doc] @ vector if doc in self.held else 0 for doc in range(size)])
        assert len(self.index) == len(self.held)
        assert np.flatnonzero(self.index.present(size)).tolist() == sorted(self.held)
        assert [doc for doc in range(size) if self.index.holds(doc)] == sorted(self.held)
        np.testing.assert_allclose(self.index.scores(vector, size), true, atol=self.error)
        docs = self.random.permutation(size)[:20]
        np.testing.assert_allclose(self.index.scores_at(vector, docs), true[docs], atol=self.error)
        if self.index.dimension:
            np.testing.assert_allclose(self.index.vectors_at(docs) @ vector, true[docs], atol=self.error)
        for allowed in (None, self.random.random(size) < 0.5, self.random.random(20) < 0.2):
            self.search(vector, true, allowed)

    def search(self, vector: Matrix, true: NDArray[Any], allowed: NDArray[np.bool_] | None) -> None:
        let = [doc for doc in self.held if allowed is None or (doc < len(allowed) and allowed[doc])]
        docs, cosines = self.index.search(vector, 5, allowed)
        assert len(docs) == min(5, len(let))
        assert set(docs.tolist()) <= set(let)
        assert list(cosines) == sorted(cosines, reverse=True)
        np.testing.assert_allclose(cosines, true[docs], atol=self.error)
        np.testing.assert_allclose(cosines, np.sort(true[let])[::-1][: len(docs)], atol=self.error)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(steps=STEPS, seed=st.integers(0, 1000))
def test_any_sequence_of_steps_leaves_what_a_dictionary_holds(kind: str, steps: list[Step], seed: int) -> None:
    model = Model(kind, seed)
    with pytest.MonkeyPatch.context() as patched:
        if kind == "hnsw by graph":  # small segments are scanned otherwise
            patched.setattr(hnsw, "_ROWS_PER_ANSWER", 0)
            patched.setattr(hnsw, "_FEWEST", 8)
            patched.setattr(hnsw, "_SCANNED", 0)
        for step in steps:
            model.take(step)
            if step[0] in ("adopt", "reopen"):
                model.compare()
        model.compare()


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_cleared_is_zero_wherever_it_lay_and_never_found(kind: str) -> None:
    vectors = clustered(40, DIMENSION)
    index = filled(KINDS[kind](), vectors)
    for doc in range(0, 40, 3):
        index.clear(doc)
    index.clear(1000)
    kept = [doc for doc in range(40) if doc % 3]
    found, _ = index.search(vectors[0], 40)
    assert sorted(found.tolist()) == kept
    for rows in storage(index):
        assert np.count_nonzero(rows.any(axis=1)) <= len(kept)
    assert sum(np.count_nonzero(segment.codes.any(axis=1)) for segment in index._segments) == len(kept)


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_of_another_dimension_take_the_place_of_all(kind: str) -> None:
    index = filled(KINDS[kind](), clustered(40, DIMENSION))
    index.set(numbers(50), clustered(1, 5))
    assert (index.dimension, len(index)) == (5, 1)
    assert index.search(clustered(1, 5)[0], 3)[0].tolist() == [50]


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_index_answers(kind: str) -> None:
    index = KINDS[kind]()
    index.set(numbers(), np.zeros((0, 0), dtype=np.float32))
    vector = clustered(1, DIMENSION)[0]
    assert (index.dimension, len(index), index.holds(0), index.pending()) == (0, 0, False, None)
    assert index.scores(vector, 3).tolist() == index.scores_at(vector, numbers(0, 7, 9)).tolist() == [0, 0, 0]
    assert [part.tolist() for part in index.search(vector, 3)] == [[], []]
    assert index.search(vector, 3, np.ones(4, dtype=np.bool_))[0].tolist() == []


def recall(index: DocumentIndex, vectors: Matrix, allowed: NDArray[np.bool_] | None = None) -> float:
    """Recall at 10 of 50 questions against an exact search."""
    true = np.where(True if allowed is None else allowed, clustered(50, seed=7) @ vectors.T, -2)
    best = np.argsort(-true, axis=1)[:, :10]
    found = [index.search(question, 10, allowed)[0] for question in clustered(50, seed=7)]
    return float(np.mean([len(np.intersect1d(*pair)) / 10 for pair in zip(found, best, strict=True)]))


@pytest.mark.parametrize("compressed", [False, True])
def test_graphs_find_nearly_all_of_the_nearest(compressed: bool) -> None:
    vectors = clustered(10_000)
    index = filled(HnswIndex(segment=4000, compressed=compressed), vectors)
    assert all(segment.linked == segment.used for segment in index._segments[:2])
    assert recall(index, vectors) > (0.93 if compressed else 0.98)


@pytest.mark.parametrize("share", [0.5, 0.05, 0.0005])
def test_filters_find_the_nearest_of_what_they_let_through(share: float) -> None:
    vectors = clustered(10_000)
    index = filled(HnswIndex(), vectors)
    allowed = np.random.default_rng(3).random(10_000) < share
    found = index.search(clustered(1, seed=8)[0], 10, allowed)[0]
    assert len(found) == min(10, np.count_nonzero(allowed))
    assert allowed[found].all()
    if np.count_nonzero(allowed) >= 10:
        assert recall(index, vectors, allowed) > 0.98


def test_a_filter_that_lets_through_only_what_is_far_is_right() -> None:
    vectors = clustered(10_000)
    question = clustered(1, seed=8)[0]
    index = filled(HnswIndex(), vectors)
    farthest = np.argsort(vectors @ question)[:5000]
    allowed = np.zeros(10_000, dtype=np.bool_)
    allowed[farthest] = True
    assert index.search(question, 10, allowed)[0].tolist() == farthest[::-1][:10].tolist()


def test_many_answers_are_as_right_as_few() -> None:
    vectors = clustered(10_000)
    index = filled(HnswIndex(segment=4000), vectors)
    question = clustered(1, seed=8)[0]
    found = index.search(question, 500)[0]
    assert len(np.intersect1d(found, np.argsort(-vectors @ question)[:500])) > 490


def repeating() -> Matrix:
    """6,000 vectors, a third of them three short texts again and again."""
    vectors = clustered(6000)
    vectors[::3] = vectors[np.arange(2000) % 3]
    return vectors


@pytest.mark.parametrize("compressed", [False, True])
def test_texts_said_again_and_again_hide_no_others(compressed: bool) -> None:
    vectors = repeating()
    index = filled(HnswIndex(compressed=compressed), vectors)
    questions = np.concatenate([clustered(50, seed=7), vectors[:3]])
    for k in (10, 900):
        found = [index.search(question, k)[1][-1] for question in questions]
        true = np.sort(questions @ vectors.T, axis=1)[:, -k]
        assert np.mean(np.array(found) >= true - (2e-3 if compressed else 1e-5)) > 0.95


def test_repeated_texts_are_forgotten_one_by_one_and_the_last_is_found_to_the_end() -> None:
    vectors = repeating()
    index = filled(HnswIndex(), vectors)
    alike = [doc for doc in range(0, 6000, 3) if np.array_equal(vectors[doc], vectors[0])]
    assert len(alike) > 600
    for place, doc in enumerate(alike[:-1]):
        index.clear(doc)
        if place % 100 == 0 or len(alike) - place < 5:
            found, cosines = index.search(vectors[0], 5)
            left = min(5, len(alike) - place - 1)
            assert set(found[:left].tolist()) <= set(alike[place + 1 :])
            np.testing.assert_allclose(cosines[:left], 1, atol=1e-5)
    assert not any(index.holds(doc) for doc in alike[:-1])
    rows = index._segments[0].codes[: index._segments[0].used]
    assert np.count_nonzero(rows @ vectors[0] > 0.9999) == 1


def test_the_first_of_repeated_texts_may_go_while_the_others_are_linked() -> None:
    vectors = repeating()
    index = HnswIndex()
    index.set(np.arange(6000), vectors)
    work = index.pending()
    assert work is not None
    assert work.run()
    index.clear(0)
    assert index.adopt(work)
    index.search(vectors[0], 600)
    saved = [read_dump(sealed.dump()) for sealed in index.sealed()]
    again = HnswIndex()
    again.set(np.arange(1, 6000), vectors[1:])
    again.load(saved[0])
    for opened in (index, again):
        found, cosines = opened.search(vectors[0], 600)
        np.testing.assert_allclose(cosines, 1, atol=1e-5)
        assert len(set(found.tolist())) == 600
        assert 0 not in found


def test_a_graph_with_many_holes_is_built_anew_without_them() -> None:
    vectors = clustered(4000)
    index = filled(HnswIndex(), vectors)
    for doc in range(0, 4000, 3):
        index.clear(doc)
    kept = np.arange(4000) % 3 > 0
    assert recall(index, vectors, kept) > 0.97
    assert build(index) == 1
    assert [segment.linked for segment in index._segments] == [len(index)]
    assert recall(index, vectors, kept) > 0.98


def test_what_is_cleared_while_a_graph_is_built_stays_cleared() -> None:
    vectors = clustered(2000)
    index = HnswIndex()
    index.set(np.arange(2000), vectors)
    work = index.pending()
    assert work is not None
    index.clear(7)
    index.set(numbers(8), vectors[9:10])
    assert work.run()
    assert index.adopt(work)
    found, cosines = index.search(vectors[9], 2)
    assert sorted(found.tolist()) == [8, 9]
    np.testing.assert_allclose(cosines, 1, atol=1e-5)
    assert 7 not in index.search(vectors[7], 50)[0]


def test_a_step_whose_segment_is_gone_comes_to_nothing() -> None:
    index = HnswIndex()
    index.set(np.arange(2000), clustered(2000))
    work, twin = index.pending(), index.pending()
    assert work is not None
    assert twin is not None
    assert not index.adopt(work), "it was not run"
    assert work.run()
    assert twin.run()
    assert index.adopt(work)
    assert not index.adopt(twin), "the graph it was to extend has been replaced"
    index.set(np.arange(3000, 5000), clustered(2000))
    late = index.pending()
    assert late is not None
    assert late.run()
    index.set(numbers(0), clustered(1, 5))
    assert not index.adopt(late)


def test_building_stops_when_told_to() -> None:
    index = HnswIndex()
    index.set(np.arange(2000), clustered(2000))
    work = index.pending()
    assert work is not None
    assert not work.run(lambda: True)
    assert not index.adopt(work)
    assert build(index) == 1


def test_building_lets_other_threads_go_on_and_use_their_threads() -> None:
    index = HnswIndex()
    index.set(np.arange(4000), clustered(4000))
    before, work = faiss.omp_get_max_threads(), index.pending()
    assert work is not None
    worker = threading.Thread(target=work.run)
    worker.start()
    asked = 0
    while worker.is_alive():
        index.search(clustered(1)[0], 10)
        asked += 1
    worker.join()
    assert asked > 20
    assert faiss.omp_get_max_threads() == before


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the resident size from /proc")
def test_what_building_copied_is_given_back() -> None:
    code = (
        "import numpy as np, faiss; from pathlib import Path; from agentmem.indexes.hnsw import HnswIndex;"
        "resident = lambda: int(Path('/proc/self/statm').read_text().split()[1]) * 4096 / 1e6;"
        "vectors = np.random.default_rng(0).standard_normal((6000, 768), dtype=np.float32);"
        "index = HnswIndex(step=256); before = resident();\n"
        "for at in range(0, 6000, 256):\n"
        "    index.set(np.arange(at, min(at + 256, 6000)), vectors[at : at + 256])\n"
        "    while work := index.pending(): work.run(); index.adopt(work)\n"
        "print(resident() - before, len(index.sealed()))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    grown, graphs = run.stdout.split()
    assert graphs == "1"
    assert float(grown) < 100, "18 MB of vectors, 36 reserved, as much copied in 24 steps: 220 MB if nothing is freed"


def test_a_small_auto_index_builds_nothing_and_a_large_one_does() -> None:
    index = make_index("auto", step=256)
    index.set(np.arange(EXACT_BELOW - 1), clustered(EXACT_BELOW - 1, 4))
    assert index.pending() is None
    index.set(numbers(EXACT_BELOW - 1), clustered(1, 4))
    assert index.pending() is not None


def saved() -> tuple[HnswIndex, bytes]:
    index = HnswIndex()
    filled(index, clustered(2000))
    [sealed] = index.sealed()
    return index, sealed.dump()


def fresh() -> HnswIndex:
    index = HnswIndex()
    index.set(np.arange(2000), clustered(2000))
    return index


def test_a_saved_graph_holds_no_vector_and_is_used_again() -> None:
    index, blob = saved()
    assert len(blob) < 2000 * 200, "the vectors alone take 256 bytes each"
    again = fresh()
    again.load(read_dump(blob))
    assert again.pending() is None
    assert len(again) == 2000
    question = clustered(1, seed=8)[0]
    np.testing.assert_array_equal(again.search(question, 20)[0], index.search(question, 20)[0])
    assert again.sealed()[0].version > 0


def test_a_saved_graph_serves_under_other_numbers_and_without_what_was_forgotten() -> None:
    _, blob = saved()
    vectors = clustered(2000)
    index = HnswIndex()
    index.set(np.arange(100, 2000) + 5000, vectors[100:])
    dump = read_dump(blob)
    index.load(replace(dump, docs=np.where(dump.docs < 100, -1, dump.docs + 5000).astype(np.int32)))
    assert len(index) == 1900
    assert index.pending() is None
    assert index.search(vectors[500], 1)[0].tolist() == [5500]


def test_a_saved_graph_is_used_where_the_vectors_lie_and_extended_by_those_that_came_since() -> None:
    _, blob = saved()
    index = HnswIndex()
    vectors = np.concatenate([clustered(2000), clustered(5000, seed=4)])
    index.set(np.arange(7000), vectors)
    rows = index._segments[0].codes
    index.load(read_dump(blob))
    assert index._segments[0].codes is rows
    assert build(index) == 1
    assert [segment.linked for segment in index._segments] == [7000]
    assert recall(index, vectors) > 0.98


def test_versions_tell_which_graphs_were_saved_already() -> None:
    index = HnswIndex(segment=2000)
    index.set(np.arange(4000), clustered(4000))
    build(index)
    before = [sealed.version for sealed in index.sealed()]
    index.set(np.arange(4000, 6000), clustered(2000))
    build(index)
    after = [sealed.version for sealed in index.sealed()]
    assert after[:2] == before
    assert after[2] > max(before)


@pytest.mark.parametrize("place", [0, 20, 40, 5000, -1])
def test_a_damaged_graph_is_refused(place: int) -> None:
    _, blob = saved()
    damaged = bytearray(blob)
    damaged[place] ^= 4
    with pytest.raises(SnapshotError):
        read_dump(bytes(damaged))


@pytest.mark.parametrize("length", [0, 10, 30, 3000, -1])
def test_a_graph_cut_short_is_refused(length: int) -> None:
    _, blob = saved()
    with pytest.raises(SnapshotError):
        read_dump(blob[:length])


def test_a_graph_over_other_vectors_is_refused_and_changes_nothing() -> None:
    _, blob = saved()
    index = HnswIndex()
    vectors = clustered(2000, seed=5)
    index.set(np.arange(2000), vectors)
    with pytest.raises(SnapshotError, match="other vectors"):
        index.load(read_dump(blob))
    assert len(index) == 2000
    assert index.search(vectors[3], 1)[0].tolist() == [3]
    other = HnswIndex()
    other.set(np.arange(2000), clustered(2000, 8))
    with pytest.raises(SnapshotError, match="dimensions"):
        other.load(read_dump(blob))
    with pytest.raises(SnapshotError, match="no graphs"):
        FlatIndex().load(read_dump(blob))


def test_hashing_is_what_faiss_does_with_planes_as_centroids() -> None:
    vectors = clustered(3000)
    index = LshIndex(probes=3, buckets=32)
    index.set(np.arange(3000), vectors)
    planes = index._planes[0].T
    centroids = np.ascontiguousarray(np.concatenate([planes, -planes]))
    quantizer = faiss.IndexFlatIP(64)
    quantizer.add(centroids)
    inverted = faiss.IndexIVFFlat(quantizer, 64, 32, faiss.METRIC_INNER_PRODUCT)
    inverted.nprobe = 3
    inverted.add(vectors)
    for question in clustered(20, seed=7):
        cosines, docs = inverted.search(question[None], 10)
        found, values = index.search(question, 10)
        assert found.tolist() == docs[0].tolist()
        np.testing.assert_allclose(values, cosines[0], atol=1e-5)


def test_more_tables_and_probes_find_more() -> None:
    vectors = clustered(5000)

    def found(tables: int, probes: int) -> float:
        index = LshIndex(tables=tables, probes=probes)
        index.set(np.arange(5000), vectors)
        return recall(index, vectors)

    assert found(1, 1) < found(8, 1) < found(8, 8)
    assert found(1, 1) < found(1, 8)
    assert found(8, 8) > 0.9


def test_hashing_with_a_filter_gives_as_many_as_there_are() -> None:
    index = LshIndex()
    index.set(np.arange(5000), clustered(5000))
    allowed = np.zeros(5000, dtype=np.bool_)
    allowed[[3, 70, 900]] = True
    assert sorted(index.search(clustered(1, seed=8)[0], 10, allowed)[0].tolist()) == [3, 70, 900]


@pytest.mark.parametrize("name", ["ivf", "", "HNSW"])
def test_an_unknown_index_is_named_and_the_kinds_are_listed(name: str) -> None:
    with pytest.raises(SettingsError, match=f"no index '{name}': choose one of flat, hnsw, lsh, auto"):
        make_index(name)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("flat", {"tables": 2}),
        ("lsh", {"tables": 0}),
        ("lsh", {"probes": 0}),
        ("lsh", {"buckets": 7}),
        ("lsh", {"buckets": 8, "probes": 9}),
        ("auto", {"probes": 2}),
    ],
)
def test_impossible_options_are_refused(name: str, options: dict[str, int]) -> None:
    with pytest.raises(SettingsError):
        make_index(name, **options)


def test_faiss_is_imported_only_when_there_is_a_graph() -> None:
    code = (
        "import sys, numpy as np; from agentmem.indexes.vectors import make_index; index = make_index('auto');"
        "index.set(np.arange(100), np.eye(100, dtype=np.float32)); index.search(np.eye(100, dtype=np.float32)[3], 5);"
        "print('faiss' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


@pytest.mark.parametrize("said", ["flat", "hnsw", "auto compressed", "lsh", "lsh tables=4 probes=2 buckets=64"])
def test_an_index_is_what_the_setting_says(said: str) -> None:
    index = read_index(said)()
    index.set(np.arange(3), np.eye(3, dtype=np.float32))
    docs, cosines = index.search(np.array([0, 1, 0], np.float32), 1)
    assert docs.tolist() == [1]
    assert cosines[0] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    "said", ["", "faiss", "flat tables=2", "lsh tables=0", "lsh probes=x", "lsh tables", "hnsw fast", "auto segment=1"]
)
def test_a_setting_that_makes_no_index_is_an_error_before_anything_is_opened(said: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        Memory(tmp_path / "memory.db", settings=Settings(index=said))
    assert list(tmp_path.iterdir()) == []
