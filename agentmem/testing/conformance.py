"""What every Backend must do, as tests. Subclass BackendConformance and give it `make_backend`.

Abilities decide what is tested beyond the mandatory: a backend that doesn't declare one is not asked for it.
"""

from __future__ import annotations

from agentmem.testing.conformance_changes import ChangesConformance
from agentmem.testing.conformance_files import FilesConformance
from agentmem.testing.conformance_links import LinksConformance
from agentmem.testing.conformance_records import RecordsConformance
from agentmem.testing.conformance_snapshots import SnapshotsConformance
from agentmem.testing.conformance_transactions import TransactionsConformance


class BackendConformance(
    RecordsConformance,
    LinksConformance,
    ChangesConformance,
    TransactionsConformance,
    SnapshotsConformance,
    FilesConformance,
):
    """All of it. `make_backend(tmp_path)` opens a store under `tmp_path`: the same one when called again."""
