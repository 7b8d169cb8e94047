"""The gates: bounds, verdicts, and what fails an adapter."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentmem.consolidation.curriculum import Aspect, Item
from agentmem.consolidation.gates import Judgement, Thresholds, judge, judgement_of, lower_bound, upper_bound
from agentmem.consolidation.marking import Probe, says

UNKNOWN = "I don't remember."


def probes(aspect: Aspect, right: int, items: int, *, before: bool = True, kl: float | None = None) -> list[Probe]:
    return [Probe(aspect, n < right, before, kl=kl, thought=str(n)) for n in range(items)]


def good() -> list[Probe]:
    return [
        *probes("recall", 300, 300),
        *probes("wording", 300, 300),
        *probes("recognition", 300, 300),
        *probes("older", 300, 300),
        *probes("general", 300, 300, kl=0.001),
        *probes("abstention", 300, 300),
        *probes("context", 300, 300),
    ]


def verdicts(judgement: Judgement) -> dict[str, str]:
    return {gate.name: gate.verdict for gate in judgement.gates}


@pytest.mark.parametrize(
    ("right", "items", "bound"),
    [(100, 100, 0.9705), (95, 100, 0.8978), (0, 50, 0.0), (50, 50, 0.9418), (9, 10, 0.6058)],
)
def test_bounds_are_those_of_clopper_and_pearson(right: int, items: int, bound: float) -> None:
    assert lower_bound(right, items) == pytest.approx(bound, abs=2e-4)
    assert upper_bound(items - right, items) == pytest.approx(1 - bound, abs=2e-4)


def test_what_is_good_passes_every_gate() -> None:
    found = judge(good(), oldest=["0", "1"])
    assert found.passed
    assert set(verdicts(found)) == {
        "recall", "wording", "recognition", "older", "oldest", "locality", "abstention", "general", "context",
    }  # fmt: skip
    assert verdicts(found)["oldest"] == "insufficient"
    assert judgement_of(found.as_json()) == found


@pytest.mark.parametrize(
    ("bad", "gate"),
    [
        (probes("recall", 275, 300), "recall"),
        (probes("wording", 245, 300), "wording"),
        (probes("recognition", 293, 300), "recognition"),
        (probes("older", 297, 300), "older"),
        (probes("general", 300, 300, kl=0.03), "locality"),
        (probes("general", 296, 300, kl=0.0), "general"),
        (probes("abstention", 288, 300), "abstention"),
        (probes("context", 288, 300), "context"),
    ],
)
def test_each_gate_can_fail_and_says_so(bad: list[Probe], gate: str) -> None:
    rest = [p for p in good() if p.aspect != bad[0].aspect]
    found = judge([*rest, *bad])
    assert not found.passed
    assert [name for name, verdict in verdicts(found).items() if verdict == "failed"] == [gate]
    (reason,) = found.reasons
    assert reason.startswith(f"{gate} is ")


def test_a_good_figure_of_few_is_insufficient_and_a_bad_one_fails() -> None:
    assert verdicts(judge(probes("recall", 46, 50))) == {"recall": "insufficient"}
    assert judge(probes("recall", 46, 50)).passed
    assert verdicts(judge(probes("recall", 44, 50))) == {"recall": "failed"}


def test_what_was_wrong_before_is_no_loss_and_what_became_right_makes_up_for_one() -> None:
    was_wrong = probes("older", 290, 300)
    was_wrong = [replace(p, before=p.right) for p in was_wrong]
    assert judge(was_wrong).passed
    mixed = [*probes("older", 297, 300), *probes("older", 3, 3, before=False)]
    assert judge(mixed, Thresholds(older=0.02)).gates[0].value == 0


def test_the_oldest_are_judged_apart() -> None:
    older = [replace(p, thought=f"t{n}") for n, p in enumerate(probes("older", 400, 400))]
    older[0] = replace(older[0], right=False)
    found = judge(older, oldest=["t0", "t1"])
    assert verdicts(found) == {"older": "passed", "oldest": "failed"}


def test_a_memory_that_does_not_even_move_the_base_is_no_measure_of_the_adapter() -> None:
    found = judge([*probes("context", 0, 50, before=False), *probes("context", 200, 200)])
    assert [(gate.items, gate.verdict) for gate in found.gates] == [(200, "passed")]


def test_nothing_measured_is_nothing_passed() -> None:
    assert not judge([]).passed


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("Ada lives in Oslo.", True),
        ("in OSLO, I think", True),
        ("Ada lives in Oslofjord.", False),
        ("I don't remember. Oslo?", False),
        ("", False),
    ],
)
def test_an_answer_is_right_where_it_says_what_is_expected(answer: str, right: bool) -> None:
    item = Item("recall", (), "Ada lives in Oslo.", "Oslo")
    assert says(answer, item, UNKNOWN) is right


def test_not_remembering_is_right_where_nothing_is_known() -> None:
    item = Item("abstention", (), UNKNOWN, UNKNOWN)
    assert says("I don't remember that.", item, UNKNOWN)
    assert not says("Ada lives in Oslo.", item, UNKNOWN)
