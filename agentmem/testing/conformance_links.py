"""Conformance: edges of provenance, vectors, and the settings of a store."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agentmem.interfaces import Backend, Matrix
from agentmem.testing.conformance_base import Conformance, add, snapshot
from agentmem.testing.samples import NS, new_chunk, new_job, new_suppression, new_thought, new_turn
from agentmem.types import Edge, Relation

OTHER = ("test", "other")


def edge(child: str, parent: str, relation: Relation = "source") -> Edge:
    kind = "turn" if relation == "source" else "thought"
    return Edge("thought", child, kind, parent, relation)  # type: ignore[arg-type]


def rows(count: int, dimension: int = 4, start: int = 0) -> Matrix:
    values = np.arange(start, start + count * dimension, dtype=np.float32)
    return values.reshape(count, dimension)


class LinksConformance(Conformance):
    def test_edges_are_found_by_either_end_oldest_first(self, backend: Backend) -> None:
        edges = [edge("b", "t1"), edge("a", "t2"), edge("a", "t1"), edge("a", "b", "similar"), edge("c", "a", "merged")]
        with backend.write() as writer:
            writer.link(edges, namespace=NS)
            writer.link([edges[2], edges[0]], namespace=NS)
        with backend.read() as reader:
            assert reader.edges(namespace=NS) == edges
            assert reader.edges(namespace=NS, children=["a"]) == edges[1:4]
            assert reader.edges(namespace=NS, children=["a", "b", "a"]) == edges[:4]
            assert reader.edges(namespace=NS, parents=["t1"]) == [edges[0], edges[2]]
            assert reader.edges(namespace=NS, children=["a"], parents=["b", "t2"]) == [edges[1], edges[3]]
            assert reader.edges(namespace=NS, children=["a"], relation="similar") == [edges[3]]
            assert reader.edges(namespace=NS, children=[]) == reader.edges(namespace=NS, parents=[]) == []
            assert reader.edges(namespace=OTHER) == []

    def test_unlink_takes_exactly_the_edges_named(self, backend: Backend) -> None:
        edges = [edge("a", "b", "similar"), edge("a", "b", "merged"), edge("b", "a", "similar")]
        with backend.write() as writer:
            writer.link(edges, namespace=NS)
            writer.link(edges, namespace=OTHER)
            writer.unlink([edges[0], edge("x", "y")], namespace=NS)
            assert writer.edges(namespace=NS) == edges[1:]
            assert writer.edges(namespace=OTHER) == edges

    def test_a_removed_record_takes_its_edges_but_stays_as_an_erased_source(self, backend: Backend) -> None:
        turn, gone, kept = new_turn(), new_thought(), new_thought()
        source, up, down = edge(kept.id, turn.id), edge(gone.id, kept.id, "similar"), edge(kept.id, gone.id, "merged")
        add(backend, turn, gone, kept)
        with backend.write() as writer:
            writer.link([source, up, down, edge(gone.id, turn.id)], namespace=NS)
            writer.remove("turn", [turn.id], namespace=NS)
            assert writer.edges(namespace=NS, parents=[turn.id]) == [source, edge(gone.id, turn.id)]
            writer.remove("thought", [gone.id], namespace=NS)
            assert writer.edges(namespace=NS) == [source]

    def test_vectors_come_back_in_order(self, backend: Backend) -> None:
        turns = [new_turn() for _ in range(5)]
        add(backend, *turns, new_thought())
        names = [turn.id for turn in turns]
        with backend.write() as writer:
            writer.set_vectors("turn", [names[3], names[1], "unknown"], rows(3), namespace=NS)
        with backend.read() as reader:
            found, matrix = reader.vectors("turn", namespace=NS)
            assert (found, matrix.tolist()) == ([names[1], names[3]], rows(2)[::-1].tolist())
            assert matrix.dtype == np.float32
            found, matrix = reader.vectors("turn", namespace=NS, ids=[names[3], names[0], "unknown", names[1]])
            assert (found, matrix.tolist()) == ([names[3], names[1]], rows(2).tolist())

    def test_no_vectors_are_an_empty_matrix(self, backend: Backend) -> None:
        add(backend, new_turn())
        with backend.read() as reader:
            for kind, ids in (("turn", None), ("turn", []), ("turn", ["unknown"]), ("thought", None)):
                found, matrix = reader.vectors(kind, namespace=NS, ids=ids)  # type: ignore[arg-type]
                assert (found, matrix.shape, matrix.dtype.name) == ([], (0, 0), "float32")

    @pytest.mark.parametrize("dimension", [4, 7])
    def test_a_vector_is_replaced(self, backend: Backend, dimension: int) -> None:
        thoughts = [new_thought(), new_thought()]
        add(backend, *thoughts)
        names = [thought.id for thought in thoughts]
        with backend.write() as writer:
            writer.set_vectors("thought", names, rows(2), namespace=NS)
            writer.set_vectors("thought", names[::-1], rows(2, dimension, start=50), namespace=NS)
        with backend.read() as reader:
            found, matrix = reader.vectors("thought", namespace=NS)
        assert (found, matrix.tolist()) == (names, rows(2, dimension, start=50)[::-1].tolist())
        assert backend.check() == []

    def test_vectors_go_with_their_record_or_all_at_once(self, backend: Backend) -> None:
        turns, chunk = [new_turn(), new_turn()], new_chunk()
        add(backend, *turns, chunk)
        with backend.write() as writer:
            writer.set_vectors("turn", [turn.id for turn in turns], rows(2), namespace=NS)
            writer.set_vectors("chunk", [chunk.id], rows(1), namespace=NS)
            writer.remove("turn", [turns[0].id], namespace=NS)
            assert writer.vectors("turn", namespace=NS)[0] == [turns[1].id]
            writer.clear_vectors(namespace=NS)
            assert writer.vectors("turn", namespace=NS)[0] == writer.vectors("chunk", namespace=NS)[0] == []
            writer.set_vectors("turn", [turns[1].id], rows(1, 9), namespace=NS)
            assert writer.vectors("turn", namespace=NS)[1].shape == (1, 9)
        assert backend.check() == []

    def test_a_vector_goes_with_the_summary_it_was_made_of(self, backend: Backend) -> None:
        chunk, other = new_chunk(summary="They talked about Lisbon."), new_chunk(summary="And about tea.")
        add(backend, chunk, other)
        with backend.write() as writer:
            writer.set_vectors("chunk", [chunk.id, other.id], rows(2), namespace=NS)
            writer.replace([replace(chunk, last_seq=7), replace(other, summary=None)])
            assert writer.vectors("chunk", namespace=NS)[0] == [chunk.id]
            writer.replace([replace(chunk, summary="They talked about Porto!!")])
        with backend.read() as reader:
            assert reader.vectors("chunk", namespace=NS)[0] == []
        assert backend.check() == []

    def test_settings_are_set_changed_and_unset(self, backend: Backend) -> None:
        with backend.write() as writer:
            for value in ("first", "\ud800 odd", "", None, None):
                writer.set_meta("key", value)
                assert writer.meta("key") == value

    def test_settings_are_listed_with_the_key_of_the_digests(self, backend: Backend) -> None:
        with backend.write() as writer:
            key = writer.settings()
            assert list(key) == ["digest_key"]
            writer.set_meta("key", "value \ud800")
            writer.remove_namespace(namespace=NS)
        with backend.read() as reader:
            assert reader.settings() == {**key, "key": "value \ud800"}

    def test_digests_count_equal_texts_as_equal_and_are_kept(self, backend: Backend) -> None:
        with backend.read() as reader:
            digest = reader.digest("She likes Tea!")
            assert digest == reader.digest("she  likes tea") != reader.digest("she likes teas")
            assert "tea" not in digest
        add(backend, new_suppression(digest), new_suppression("other"))
        with backend.read() as reader:
            assert digest == reader.digest("She likes Tea!")
            assert reader.count("suppression", namespace=NS, where={"digest": [digest]}) == 1

    def test_a_sound_store_has_no_faults(self, backend: Backend) -> None:
        turn, thought = new_turn(), new_thought()
        add(backend, turn, thought, new_turn(), new_chunk(summary="s"), new_job(turn.id, reason="r"))
        with backend.write() as writer:
            writer.link([edge(thought.id, turn.id)], namespace=NS)
            writer.set_vectors("turn", [turn.id], rows(1), namespace=NS)
        with backend.write() as writer:
            writer.remove("job", [job.id for job in writer.select("job", namespace=NS)], namespace=NS)
            writer.remove("turn", [turn.id], namespace=NS)
        before = snapshot(backend)
        assert backend.check() == []
        assert backend.erase() is True
        backend.reclaim()
        assert backend.check() == []
        assert snapshot(backend) == before
