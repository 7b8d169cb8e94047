"""Conformance: all or nothing, one writer at a time, a consistent view, and what is closed stays closed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from agentmem.errors import InputError, StoreClosedError, StoreError
from agentmem.interfaces import Backend, Writer
from agentmem.testing.conformance_base import Conformance, add, contents, ids, snapshot
from agentmem.testing.samples import NS, new_chunk, new_job, new_thought, new_turn
from agentmem.types import Edge, Namespace, Thought, Turn

OTHER = ("test", "other")


def link(turns: list[Turn], thought: Thought, number: int) -> Edge:
    return Edge("thought", thought.id, "turn", turns[number].id, "source")


def fill(backend: Backend) -> tuple[list[Turn], Thought]:
    turns, thought = [new_turn(source="f", external_id=str(n)) for n in range(4)], new_thought()
    with backend.write() as writer:
        writer.add([*turns, thought, new_chunk(summary="s"), new_job(turns[0].id, reason="r")])
        writer.set_vectors("turn", [turn.id for turn in turns], np.eye(4, dtype=np.float32), namespace=NS)
        writer.link([link(turns, thought, 0), link(turns, thought, 2)], namespace=NS)
        writer.set_meta("key", "before")
    return turns, thought


def disturb(writer: Writer, turns: list[Turn], thought: Thought) -> None:
    """One of every kind of write."""
    writer.remove("turn", [turns[1].id, turns[0].id], namespace=NS)
    writer.add([new_turn(id=turns[1].id, source="f", external_id="1"), new_thought()])
    writer.replace([replace(thought, state="retracted"), replace(turns[2], seq=5_000)])
    writer.set_vectors("turn", [turns[2].id, turns[3].id], np.ones((2, 4), np.float32), namespace=NS)
    writer.unlink([link(turns, thought, 2)], namespace=NS)
    writer.link([link(turns, thought, 3)], namespace=NS)
    writer.set_meta("key", None)
    writer.compact_changes(keep=2)
    writer.clear_vectors(namespace=NS)
    writer.remove("chunk", [chunk.id for chunk in writer.select("chunk", namespace=NS)], namespace=NS)
    writer.remove_namespace(namespace=NS)
    writer.add([new_turn()])


def disturb_and_fail(backend: Backend, turns: list[Turn], thought: Thought) -> None:
    with backend.write() as writer:
        disturb(writer, turns, thought)
        raise ZeroDivisionError


def read_another(writer: Writer) -> None:
    list(writer.select("turn", namespace=OTHER))


def count_another(writer: Writer) -> None:
    writer.count("turn", namespace=OTHER)


def add_to_another(writer: Writer) -> None:
    writer.add([new_turn(), new_turn(namespace=OTHER)])


def remove_another(writer: Writer) -> None:
    writer.remove_namespace(namespace=OTHER)


def link_in_another(writer: Writer) -> None:
    writer.link([Edge("thought", "a", "turn", "b", "source")], namespace=OTHER)


def clear_another(writer: Writer) -> None:
    writer.clear_vectors(namespace=OTHER)


def change_a_setting(writer: Writer) -> None:
    writer.set_meta("key", "after")


def compact(writer: Writer) -> None:
    writer.compact_changes(keep=0)


BEYOND = (
    read_another,
    count_another,
    add_to_another,
    remove_another,
    link_in_another,
    clear_another,
    change_a_setting,
    compact,
)


def within(backend: Backend, step: Callable[[Writer], object]) -> None:
    with backend.write(NS) as writer:
        writer.add([new_turn()])
        step(writer)


class TransactionsConformance(Conformance):
    def test_an_exception_rolls_everything_back(self, backend: Backend) -> None:
        turns, thought = fill(backend)
        before = snapshot(backend)
        with pytest.raises(ZeroDivisionError):
            disturb_and_fail(backend, turns, thought)
        assert snapshot(backend) == before
        assert backend.check() == []
        with backend.write() as writer:
            disturb(writer, turns, thought)
        assert len(ids(backend, "turn")) == 1

    def test_a_transaction_within_one_of_the_same_thread_is_refused(self, backend: Backend) -> None:
        for outer in (backend.read, backend.write):
            for inner in (backend.read, backend.write):
                with outer(), pytest.raises(StoreError, match="finish it first"), inner():
                    pass
        add(backend, new_turn())

    def test_the_size_may_be_asked_within_a_transaction(self, backend: Backend) -> None:
        with backend.read():
            assert (backend.size() > 0) is backend.abilities.durable
        with backend.write() as writer:
            writer.add([new_turn()])
            assert (backend.size() > 0) is backend.abilities.durable

    def test_a_reader_does_not_see_what_is_written_meanwhile(self, backend: Backend) -> None:
        add(backend, new_turn())
        started = threading.Event()

        def write() -> None:
            started.set()
            add(backend, new_turn(), new_thought())

        thread = threading.Thread(target=write)
        with backend.read() as reader:
            before = contents(reader)
            thread.start()
            started.wait()
            thread.join(timeout=0.2)
            assert contents(reader) == before
        thread.join()
        assert len(ids(backend, "turn")) == 2

    def test_threads_write_in_turn_and_lose_nothing(self, backend: Backend) -> None:
        errors: list[BaseException] = []

        def work(name: str) -> None:
            try:
                for seq in range(50):
                    add(backend, new_turn(id=f"{name}-{seq}", session=name, seq=seq))
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(f"s{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(ids(backend, "turn")) == 200
        with backend.read() as reader:
            assert len(reader.changes(namespace=NS, after=0)) == 200

    def test_writers_of_namespaces_and_of_the_store_lose_nothing(self, backend: Backend) -> None:
        errors: list[BaseException] = []

        def work(name: str, scope: Namespace | None) -> None:
            try:
                for seq in range(20):
                    with backend.write(scope) as writer:
                        held = writer.count("turn", namespace=scope or NS)
                        writer.add([new_turn(id=f"{name}-{seq}", session="one", seq=held, namespace=scope or NS)])
            except BaseException as error:
                errors.append(error)

        scopes: list[Namespace | None] = [NS, NS, OTHER, ("a third",), None, None]
        threads = [threading.Thread(target=work, args=(f"s{n}", scope)) for n, scope in enumerate(scopes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        with backend.read() as reader:
            for namespace, count in ((NS, 80), (OTHER, 20), (("a third",), 20)):
                assert len(reader.changes(namespace=namespace, after=0)) == count
                turns = list(reader.select("turn", namespace=namespace))
                assert [turn.seq for turn in turns] == list(range(count))  # none read what another was just writing

    @pytest.mark.parametrize("step", BEYOND, ids=[step.__name__ for step in BEYOND])
    def test_the_writer_of_a_namespace_keeps_to_it(self, backend: Backend, step: Callable[[Writer], object]) -> None:
        theirs = new_turn(namespace=OTHER)
        with backend.write() as writer:
            writer.add([theirs])
            writer.set_meta("key", "before")
        with pytest.raises(InputError):
            within(backend, step)
        assert (ids(backend, "turn"), ids(backend, "turn", namespace=OTHER)) == ([], [theirs.id])
        with backend.write(NS) as writer:
            assert (writer.meta("key"), writer.namespaces()) == ("before", [OTHER])
            writer.add([new_turn()])
        assert len(ids(backend, "turn")) == 1

    def test_a_closed_backend_says_so(self, backend: Backend) -> None:
        add(backend, new_turn())
        backend.close()
        backend.close()
        for use in (
            lambda: snapshot(backend),
            lambda: add(backend, new_turn()),
            lambda: backend.claim("embed", limit=1, lease_seconds=1),
            lambda: backend.jobs(),
        ):
            with pytest.raises(StoreClosedError):
                use()
