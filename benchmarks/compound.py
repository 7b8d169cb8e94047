"""What asking for two or three things at once finds: labelled questions of one conversation joined into one.

    python benchmarks/compound.py ../shared/data [--vectors /tmp/vectors.npz]

"they" joins two questions that name the same single speaker, the second with a pronoun instead of the name. Each joined
question is asked whole (`RecallEngine`) and as `Memory.recall` asks it, part by part. Printed are the share of all the
evidence, and that of the part whose share is least, among the first 5 and 10; the difference with its 95 % interval
over conversations. The last rows are the published questions that have several parts.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agentmem.backends.memory import MemoryBackend
from agentmem.evals.datasets import Case, Dataset, Question, find_dataset, read_cases
from agentmem.evals.intervals import interval
from agentmem.memory import Memory
from agentmem.questions import parts
from agentmem.recall import RecallEngine
from agentmem.types import RecallItem
from benchmarks.fit_recall import NAMESPACE, KeptEmbedder, read_conversation

CUTS = (5, 10)
DRAWN = {"locomo": 60, "beam": 30}
"""Of each sort, from a conversation."""
Figures = NDArray[np.float64]
"""Shape (CUTS, 2): of all the evidence, and of the part served least."""
Joined = tuple[str, list[frozenset[str]]]
"""A question, and the evidence of each of its parts."""


def joined(case: Case, drawn: int) -> Iterator[tuple[str, Joined]]:
    draw = random.Random(case.name)
    for _ in range(drawn):
        yield "two, and", _together(draw.sample(case.questions, 2), " and ")
        yield "two, ?", _together(draw.sample(case.questions, 2), " ")
        yield "three, ?", _together(draw.sample(case.questions, 3), " ")
    for name, own in _by_name(case).items():
        for _ in range(drawn // 2):
            one, other = draw.sample(own, 2)
            yield "two, they", _together([one, _renamed(other, name)], " and ")
    for question in case.questions:
        if parts(question.text):
            yield "as published", (question.text, [question.evidence])


def _together(asked: Sequence[Question], between: str) -> Joined:
    first, *rest = (question.text for question in asked)
    if between == " and ":
        first, rest = first.rstrip("?. "), [text[0].lower() + text[1:] for text in rest]
    return between.join([first, *rest]), [question.evidence for question in asked]


def _by_name(case: Case) -> dict[str, list[Question]]:
    """The questions that name just one of LoCoMo's two speakers."""
    talk = case.content.get("conversation", {}) if isinstance(case.content, dict) else {}
    names = [talk[speaker] for speaker in ("speaker_a", "speaker_b") if speaker in talk]
    return {
        name: [q for q in case.questions if [n for n in names if re.search(rf"\b{n}\b", q.text)] == [name]]
        for name in names
    }


def _renamed(question: Question, name: str) -> Question:
    text = re.sub(rf"\b{name}\b", "they", re.sub(rf"\b{name}'s\b", "their", question.text))
    return Question(text, question.category, question.evidence)


def figures(items: Sequence[RecallItem], dataset: Dataset, evidence: Sequence[frozenset[str]]) -> Figures:
    keys = [dataset.key_of(item) for item in items]
    whole = frozenset().union(*evidence)
    out = []
    for cut in CUTS:
        found = set(keys[:cut])
        out.append((len(found & whole) / len(whole), min(len(found & part) / len(part) for part in evidence)))
    return np.array(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--vectors", type=Path)
    chosen = parser.parse_args()
    embedder = KeptEmbedder(chosen.vectors)
    print("| questions | | whole, at 5, 10 | in parts | more | least part: whole | in parts | more |\n|" + "---|" * 8)
    for name, drawn in DRAWN.items():
        found: dict[str, list[tuple[int, Figures, Figures]]] = {}
        dataset = find_dataset(name)
        for number, case in enumerate(read_cases(dataset, chosen.folder / name)):
            backend = MemoryBackend()
            with Memory(backend, embedder=embedder) as memory:
                memory.observe_many(read_conversation(case.content), namespace=NAMESPACE)
                memory.flush()
                ways = _ways(memory, RecallEngine(backend), embedder)
                for sort, (text, evidence) in joined(case, drawn):
                    whole, apart = (figures(way(text), dataset, evidence) for way in ways)
                    found.setdefault(sort, []).append((number, whole, apart))
        for sort, rows in found.items():
            print(_row(f"{name}: {sort}", rows), flush=True)
    embedder.keep()


def _ways(
    memory: Memory, engine: RecallEngine, embedder: KeptEmbedder
) -> tuple[Callable[[str], Sequence[RecallItem]], Callable[[str], Sequence[RecallItem]]]:
    def whole(text: str) -> Sequence[RecallItem]:
        return engine.recall(text, embedder.encode([text])[0], namespace=NAMESPACE)

    def apart(text: str) -> Sequence[RecallItem]:
        return memory.recall(text, namespace=NAMESPACE).items

    return whole, apart


def _row(name: str, rows: Sequence[tuple[int, Figures, Figures]]) -> str:
    cells = [name, str(len(rows))]
    numbers = [number for number, _, _ in rows]
    for which in (0, 1):
        whole = np.array([found[:, which] for _, found, _ in rows])
        apart = np.array([found[:, which] for _, _, found in rows])
        cells += [" ".join(f"{share:.3f}" for share in some.mean(axis=0)) for some in (whole, apart)]
        bounds = interval(100 * (apart - whole), numbers)
        told = zip(bounds.mean, bounds.low, bounds.high, strict=True)
        cells.append(", ".join(f"{mean:+.1f} ({low:+.1f} to {high:+.1f})" for mean, low, high in told))
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
