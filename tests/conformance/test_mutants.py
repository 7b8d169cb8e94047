"""The suite finds what it is for: each backend that is broken on purpose fails, by the test that is about its fault."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

CAUGHT_BY = {
    "LeaksANamespace": "test_a_namespace_sees_only_its_own",
    "ForgetsIncompletely": "test_a_removed_record_takes_its_edges",
    "BreaksTheOrder": "test_order_and_limit",
    "FiltersInexactly": "test_select_and_count_meet_every_condition",
    "ManglesTexts": "test_any_text_comes_back_as_it_was",
    "SkipsAChange": "test_every_write_of_a_searched_record_is_logged_in_order",
    "HidesThatItsLogIsCut": "test_a_compacted_log_says_so",
    "DropsWhatConflicts": "test_what_is_taken_is_refused",
    "TellsEqualTextsApart": "test_digests_count_equal_texts_as_equal",
    "MixesVectorsUp": "test_vectors_come_back_in_order",
    "CommitsWhatFailed": "test_an_exception_rolls_everything_back",
    "WritesBeyondItsScope": "test_the_writer_of_a_namespace_keeps_to_it",
    "CountsNoAttempt": "test_a_lease_ends_and_none_is_none",
    "LosesTheLastWrite": "test_a_durable_store_is_there_again_after_closing",
    "KeepsTheOldFile": "test_no_byte_of_what_was_removed_is_left",
}


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The tests that each mutant failed."""
    command = [sys.executable, "-m", "pytest", "-q", "-rf", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command += ["-k", "not no_byte or KeepsTheOldFile", f"--basetemp={tmp_path_factory.mktemp('mutants') / 'own'}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [*command, str(Path(__file__).with_name("mutants.py"))], capture_output=True, text=True, env=environment
    )
    found = defaultdict(set)
    for mutant, test in re.findall(r"^FAILED \S*::Test(\w+)::(\w+)", run.stdout, re.MULTILINE):
        found[mutant].add(test)
    assert found, run.stdout + run.stderr
    return dict(found)


@pytest.mark.parametrize("mutant", CAUGHT_BY)
def test_the_suite_finds(mutant: str, failed: dict[str, set[str]]) -> None:
    assert any(test.startswith(CAUGHT_BY[mutant]) for test in failed.get(mutant, ())), failed.get(mutant)


def test_every_mutant_is_looked_for(failed: dict[str, set[str]]) -> None:
    assert failed.keys() == CAUGHT_BY.keys()
