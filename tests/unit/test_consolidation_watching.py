"""A cycle's journal: short however long the run is, and read while it is written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from agentmem.consolidation.watching import JOURNAL, Journal, Progress, progress_of


def work(root: Path) -> Path:
    folder = root / "work-1"
    folder.mkdir()
    return folder


def test_it_is_read_as_far_as_it_was_written(tmp_path: Path) -> None:
    assert progress_of(tmp_path) is None
    folder = work(tmp_path)
    with Journal(folder) as journal:
        assert progress_of(tmp_path) == Progress("prepare", 0, 1, 0, (), (), True)
        journal.note({"stage": "train", "done": 1, "of": 4, "loss": 2.5})
        journal.note({"stage": "train", "done": 2, "of": 4, "loss": 1.5, "right": 0.25})
    with (folder / JOURNAL).open("a") as file:
        file.write('{"stage": "tra')
    assert progress_of(tmp_path) == Progress("train", 2, 4, 4, ((1, 2.5), (2, 1.5)), ((2, 0.25),), True)


def test_a_long_run_leaves_few_lines_and_all_its_probes(tmp_path: Path) -> None:
    folder = work(tmp_path)
    with Journal(folder) as journal:
        for step in range(1, 100_001):
            told = {"stage": "train", "done": step, "of": 100_000, "loss": 1.0}
            journal.note(told | ({"right": 0.5} if step % 10_000 == 0 else {}))
    found = progress_of(tmp_path)
    assert found is not None
    assert len((folder / JOURNAL).read_text().splitlines()) < 230
    assert len(found.right) == 10
    assert (found.done, found.losses[-1][0]) == (100_000, 100_000)


def test_one_that_was_stopped_is_told_from_one_at_work_and_gone_on_with(tmp_path: Path) -> None:
    folder = work(tmp_path)
    script = "import sys; from pathlib import Path; from agentmem.consolidation.watching import Journal\n"
    script += "Journal(Path(sys.argv[1])).note({'stage': 'train', 'done': 3, 'of': 4, 'loss': 1.0})"
    subprocess.run([sys.executable, "-c", script, str(folder)], check=True)
    stopped = progress_of(tmp_path)
    assert stopped == Progress("train", 3, 4, 4, ((3, 1.0),), (), False)
    with Journal(folder) as journal:
        journal.note({"stage": "train", "done": 2, "of": 4, "loss": 1.5})
    again = progress_of(tmp_path)
    assert again == Progress("train", 2, 4, 4, ((2, 1.5), (3, 1.0)), (), True)
