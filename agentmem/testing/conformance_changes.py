"""Conformance: the change log, from which caches and other processes catch up, and the queue of durable work."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from agentmem.interfaces import Backend
from agentmem.testing.conformance_base import Conformance, add, ids, select
from agentmem.testing.samples import NS, new_chunk, new_job, new_operation, new_suppression, new_thought, new_turn
from agentmem.types import Change

OTHER = ("test", "other")


def changes(backend: Backend, after: int = 0, namespace: tuple[str, ...] = NS) -> list[Change]:
    with backend.read() as reader:
        found = reader.changes(namespace=namespace, after=after)
        assert reader.last_change(namespace=namespace) == (found[-1].seq if found else after)
        return found


def add_and_fail(backend: Backend) -> None:
    with backend.write() as writer:
        before = writer.last_change(namespace=NS)
        writer.add([new_turn()])
        assert writer.last_change(namespace=NS) > before
        raise ZeroDivisionError


class ChangesConformance(Conformance):
    def test_every_write_of_a_searched_record_is_logged_in_order(self, backend: Backend) -> None:
        turn, thought, chunk = new_turn(), new_thought(), new_chunk()
        with backend.write() as writer:
            writer.add([turn, thought, new_job(), new_operation(), new_suppression(), chunk])
            writer.set_vectors("turn", [turn.id, "unknown"], np.ones((2, 3), np.float32), namespace=NS)
            writer.replace([replace(thought, strength=2)])
            writer.remove("turn", [turn.id, "unknown"], namespace=NS)
        found = changes(backend)
        assert [(c.op, c.kind, c.id) for c in found] == [
            ("add", "turn", turn.id),
            ("add", "thought", thought.id),
            ("add", "chunk", chunk.id),
            ("vector", "turn", turn.id),
            ("replace", "thought", thought.id),
            ("remove", "turn", turn.id),
        ]
        assert [c.seq for c in found] == sorted({c.seq for c in found})
        assert {c.namespace for c in found} == {NS}

    def test_a_writer_sees_its_own_changes_and_a_reader_the_rest_later(self, backend: Backend) -> None:
        first, second = new_turn(), new_turn()
        add(backend, first, new_turn(namespace=OTHER))
        seen = changes(backend)[-1].seq
        with backend.write() as writer:
            writer.add([second])
            own = writer.changes(namespace=NS, after=seen)
            assert [c.id for c in own] == [second.id]
            assert writer.last_change(namespace=NS) == own[-1].seq
        assert changes(backend, seen) == own
        assert changes(backend, own[-1].seq) == []

    def test_what_was_rolled_back_is_not_logged(self, backend: Backend) -> None:
        add(backend, new_turn())
        before = changes(backend)
        with pytest.raises(ZeroDivisionError):
            add_and_fail(backend)
        assert changes(backend) == before

    def test_a_compacted_log_says_so(self, backend: Backend) -> None:
        add(backend, *(new_turn() for _ in range(5)))
        add(backend, *(new_turn(namespace=OTHER) for _ in range(3)))
        full = changes(backend)
        with backend.write() as writer:
            writer.compact_changes(keep=5)
        assert len(changes(backend, namespace=OTHER)) == 3
        assert changes(backend, full[2].seq) == full[3:]
        for after in (0, full[1].seq):
            with pytest.raises(KeyError), backend.read() as reader:
                reader.changes(namespace=NS, after=after)
        with backend.write() as writer:
            writer.compact_changes(keep=0)
        with backend.read() as reader:
            assert reader.last_change(namespace=NS) == full[-1].seq
            assert reader.changes(namespace=NS, after=full[-1].seq) == []
        add(backend, new_turn())
        assert len(changes(backend, full[-1].seq)) == 1

    def test_who_knew_an_erased_namespace_learns_that_it_went(self, backend: Backend) -> None:
        add(backend, *(new_turn() for _ in range(3)))
        known = changes(backend)
        with backend.write() as writer:
            writer.remove_namespace(namespace=NS)
        for count in (0, 1, 4):
            add(backend, new_turn(namespace=OTHER), *(new_turn() for _ in range(count)))
            for after in (known[0].seq, known[-1].seq):
                with pytest.raises(KeyError), backend.read() as reader:
                    reader.changes(namespace=NS, after=after)
        assert len(changes(backend)) == 5

    def test_a_number_from_another_history_is_refused(self, backend: Backend) -> None:
        add(backend, new_turn())
        with pytest.raises(KeyError), backend.read() as reader:
            reader.changes(namespace=NS, after=10_000)

    @pytest.mark.usefixtures("needs_shared")
    def test_the_feed_skips_no_late_commit(self, backend: Backend, tmp_path: Path) -> None:
        """Who catches up while several write sees every change once, though numbers are given before commits."""
        writers = [self.make_backend(tmp_path) for _ in range(3)]
        seen: list[Change] = []

        def write(opened: Backend, name: str) -> None:
            for seq in range(25):
                # In turns as the writer of the namespace and of the whole store.
                with opened.write(NS if seq % 2 else None) as writer:
                    writer.add([new_turn(id=f"{name}-{seq}", session=name, seq=seq)])

        threads = [threading.Thread(target=write, args=pair) for pair in zip(writers, "abc", strict=True)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            seen += changes(backend, seen[-1].seq if seen else 0)
        seen += changes(backend, seen[-1].seq if seen else 0)
        assert [change.seq for change in seen] == sorted({change.seq for change in seen})
        assert sorted(change.id for change in seen) == sorted(ids(backend, "turn"))
        assert len(seen) == 75
        for writer in writers:
            writer.close()

    def test_claim_leases_due_jobs_oldest_first_and_counts_the_attempt(self, backend: Backend) -> None:
        jobs = [new_job(), new_job(namespace=OTHER), new_job()]
        later = new_job(run_after=datetime.now(UTC).replace(year=datetime.now(UTC).year + 5))
        parked, other_task = new_job(state="parked"), new_job(task="think")
        add(backend, *jobs, later, parked, other_task)
        assert [j.id for j in backend.claim("embed", limit=2, lease_seconds=60)] == [jobs[0].id, jobs[1].id]
        (claimed,) = backend.claim("embed", limit=2, lease_seconds=60)
        assert claimed == replace(jobs[2], attempts=1, lease_until=claimed.lease_until)
        assert claimed.lease_until is not None
        assert claimed.lease_until > datetime.now(UTC)
        assert select(backend, "job", where={"id": claimed.id}) == [claimed]
        assert backend.claim("embed", limit=9, lease_seconds=60) == []

    def test_claim_can_keep_to_a_namespace(self, backend: Backend) -> None:
        add(backend, new_job(), new_job(namespace=OTHER))
        assert [job.namespace for job in backend.claim("embed", limit=9, lease_seconds=60, namespace=OTHER)] == [OTHER]
        assert backend.claim("embed", limit=9, lease_seconds=60, namespace=("none",)) == []

    def test_a_lease_ends_and_none_is_none(self, backend: Backend) -> None:
        job = new_job()
        add(backend, job)
        attempts = []
        for lease in (0, 0, 0.05, 60):
            (claimed,) = backend.claim("embed", limit=1, lease_seconds=lease)
            attempts.append((claimed.attempts, claimed.lease_until is None))
            time.sleep(0.06)
        assert attempts == [(0, True), (0, True), (1, False), (2, False)]
        assert backend.claim("embed", limit=1, lease_seconds=60) == []

    def test_two_workers_never_claim_the_same_job(self, backend: Backend) -> None:
        add(backend, *(new_job() for _ in range(60)))
        claimed: list[str] = []

        def work() -> None:
            while found := backend.claim("embed", limit=3, lease_seconds=60):
                claimed.extend(job.id for job in found)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(claimed) == sorted(ids(backend, "job"))

    def test_jobs_of_all_namespaces_by_task_and_state(self, backend: Backend) -> None:
        jobs = [new_job(), new_job(namespace=OTHER, state="parked", reason="no"), new_job(task="think")]
        add(backend, *jobs)
        assert backend.jobs() == jobs
        assert backend.jobs(task="embed") == jobs[:2]
        assert backend.jobs(state="parked") == [jobs[1]]
        assert backend.jobs(task="think", state="parked") == []
