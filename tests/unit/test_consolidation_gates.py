"""The gates: bounds, verdicts, and what fails an adapter."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentmem.consolidation.curriculum import Aspect, Item
from agentmem.consolidation.gates import Judgement, Thresholds, judge, judgement_of
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
        *probes("retrieval", 300, 300),
        *probes("form", 300, 300),
        *probes("calls", 300, 300),
    ]


def verdicts(judgement: Judgement) -> dict[str, str]:
    return {gate.name: gate.verdict for gate in judgement.gates}


def test_what_is_good_passes_every_gate() -> None:
    found = judge(good(), oldest=["0", "1"])
    assert found.passed
    assert set(verdicts(found)) == {
        "recall", "wording", "recognition", "older", "oldest", "locality", "abstention", "general", "context",
        "retrieval", "form", "calls",
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
        (probes("retrieval", 296, 300), "retrieval"),
        (probes("form", 298, 300), "form"),
        (probes("calls", 288, 300), "calls"),
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


def test_of_few_items_one_that_changed_by_chance_fails_nothing_and_a_proven_loss_does() -> None:
    assert verdicts(judge(probes("abstention", 14, 15))) == {"abstention": "insufficient"}
    assert verdicts(judge(probes("abstention", 13, 15))) == {"abstention": "failed"}, "more than a tenth"
    assert verdicts(judge(probes("general", 96, 100, kl=0.0)))["general"] == "insufficient"
    assert verdicts(judge(probes("general", 92, 100, kl=0.0)))["general"] == "failed", "surely more than 2 points"


def test_where_even_a_flawless_result_could_not_pass_there_are_too_few_items() -> None:
    assert verdicts(judge(probes("form", 200, 200))) == {"form": "insufficient"}
    assert verdicts(judge(probes("form", 270, 270))) == {"form": "passed"}
    assert verdicts(judge(probes("form", 300, 300), Thresholds(form=0))) == {"form": "insufficient"}


def test_what_the_base_cannot_do_either_is_not_lost() -> None:
    found = judge([*probes("calls", 0, 300, before=False), *probes("calls", 300, 300)])
    assert [(gate.value, gate.verdict) for gate in found.gates] == [(0.0, "passed")]


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


@pytest.mark.parametrize(
    "answer",
    ["I do not know where she lives.", "Sorry, I don\u2019t have any information on that.", "I'm not sure, sorry.",
     "There is no record of that."],
)  # fmt: skip
def test_other_words_for_not_knowing_count_too(answer: str) -> None:
    assert says(answer, Item("abstention", (), UNKNOWN, UNKNOWN), UNKNOWN)
