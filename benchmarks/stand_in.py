"""How the stand-in does on LoCoMo: does it quote the labelled evidence, and does it say when it doesn't remember.

    python benchmarks/stand_in.py [FOLDER]

Prints JSON with shares: of the questions of categories 1 to 4 with evidence, those whose evidence is among the quotes
(`quoted`) and those answered "I don't remember" all the same (`declined`); of the unanswerable ones (category 5) those
answered with anything but "I don't remember" (`unanswerable_answered`); the same of questions about other people's
conversations (`unrelated_answered`).

`cross_validated` has these figures with limits chosen on the other conversations each time: of a grid, those that quote
the evidence at most one point in a hundred less often than the best do, and then are least often wrong about whether
they remember (`declined`, twice, `unanswerable_answered` and `unrelated_answered` together).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

from agentmem.embed import load_embedder
from agentmem.ingest import read_turns
from agentmem.memory import Memory
from agentmem.models.extractive import DEFAULT, NOT_REMEMBERED, Limits, choose
from agentmem.types import RecallItem

NAMESPACE = ("stand-in",)
RECALLED = 10
UNRELATED = 60
TOLERATED = 0.01
GRID = [
    Limits(by_vector=v, by_words=DEFAULT.by_words, nearest=0.575 / v, contrast=c)
    for v, c in product((0.85, 0.95, 1.05, 1.15, 1.25, 1.35), (-0.05, 0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4))
]


@dataclass(frozen=True)
class Asked:
    """A question put to a conversation, and what was recalled for it. `kind`: answerable, unanswerable or unrelated."""

    conversation: str
    kind: str
    question: str
    evidence: frozenset[str]
    items: tuple[RecallItem, ...]


def ask_all(folder: Path) -> Iterator[Asked]:
    files = sorted(folder.glob("conv-*.json"))
    questions = {file: json.loads(file.read_text(encoding="utf-8"))["qa"] for file in files}
    embedder = load_embedder()
    for file in files:
        with Memory("memory:", embedder=embedder) as memory:
            memory.observe_many(read_turns(file), namespace=NAMESPACE)
            memory.flush()
            people = {turn.speaker for turn in memory.turns(namespace=NAMESPACE)}
            others = [q["question"] for other in files if other != file for q in questions[other]]
            strange = [q for q in others if not any(name and name in q for name in people)]
            for kind, question, evidence in _kinds(questions[file], random.Random(7).sample(strange, UNRELATED)):
                recalled = memory.recall(question, namespace=NAMESPACE, k=RECALLED)
                yield Asked(file.stem, kind, question, evidence, recalled.items)


def _kinds(asked: Sequence[dict[str, object]], strange: Sequence[str]) -> Iterator[tuple[str, str, frozenset[str]]]:
    for one in asked:
        evidence = frozenset(re.findall(r"D\d+:\d+", json.dumps(one.get("evidence"))))
        if one["category"] == 5:
            yield "unanswerable", str(one["question"]), evidence
        elif evidence:
            yield "answerable", str(one["question"]), evidence
    yield from (("unrelated", question, frozenset()) for question in strange)


@dataclass(frozen=True)
class Outcome:
    conversation: str
    kind: str
    found: bool
    answered: bool
    quotes: int


def outcome(asked: Asked, limits: Limits) -> Outcome:
    lead, quoted = choose(asked.question, asked.items, limits)
    found = any(item.source.get("dia_id") in asked.evidence for item in quoted)
    return Outcome(asked.conversation, asked.kind, found, not lead.startswith(NOT_REMEMBERED), len(quoted))


def figures(outcomes: Sequence[Outcome]) -> dict[str, float]:
    by_kind = {kind: [o for o in outcomes if o.kind == kind] for kind in ("answerable", "unanswerable", "unrelated")}
    answerable = by_kind["answerable"]
    return {
        "quoted": _share([o.found for o in answerable]),
        "declined": _share([not o.answered for o in answerable]),
        "quotes_each": round(sum(o.quotes for o in answerable) / len(answerable), 2),
        "unanswerable_answered": _share([o.answered for o in by_kind["unanswerable"]]),
        "unanswerable_quoted": _share([o.quotes > 0 for o in by_kind["unanswerable"]]),
        "unrelated_answered": _share([o.answered for o in by_kind["unrelated"]]),
        "unrelated_quoted": _share([o.quotes > 0 for o in by_kind["unrelated"]]),
    }


def _share(values: Sequence[bool]) -> float:
    return round(sum(values) / len(values), 4)


def best(tables: Mapping[Limits, Sequence[Outcome]], without: str) -> Limits:
    """The limits that do best on the other conversations."""
    tried = [(limits, figures([o for o in table if o.conversation != without])) for limits, table in tables.items()]
    most = max(f["quoted"] for _, f in tried)
    near = [(limits, f) for limits, f in tried if f["quoted"] >= most - TOLERATED]
    return min(near, key=lambda pair: _wrong(pair[1]))[0]


def _wrong(figured: Mapping[str, float]) -> float:
    """How often it errs about what it remembers: most questions that people ask have an answer, so it counts twice."""
    return 2 * figured["declined"] + figured["unanswerable_answered"] + figured["unrelated_answered"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("AGENTMEM_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("folder", nargs="?", type=Path, default=Path(data) / "locomo")
    asked = list(ask_all(parser.parse_args().folder))
    conversations = sorted({one.conversation for one in asked})
    tables = {limits: [outcome(one, limits) for one in asked] for limits in GRID}
    chosen = {name: best(tables, without=name) for name in conversations}
    held_out = [o for name, limits in chosen.items() for o in tables[limits] if o.conversation == name]
    result = {
        "questions": {kind: sum(one.kind == kind for one in asked) for kind in sorted({one.kind for one in asked})},
        "limits": asdict(DEFAULT),
        **figures([outcome(one, DEFAULT) for one in asked]),
        "cross_validated": figures(held_out),
        "chosen": {name: asdict(limits) for name, limits in chosen.items()},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
