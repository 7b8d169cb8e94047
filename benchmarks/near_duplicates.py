"""What it is worth to move near-duplicates down: on labelled conversations, and on a diary full of repetitions.

    python -m benchmarks.near_duplicates ../shared/data [--vectors /tmp/vectors.npz]

LoCoMo and BEAM have few near-duplicates: there it must cost nothing (share of evidence turns among the first 5, 10 and
20). The diary says one thing of each topic many times in other words, and five others once: there, what counts is how
many of the six things stand among the first. Prints also the milliseconds of a recall with its embedding (median).
"""

from __future__ import annotations

import argparse
import itertools
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from agentmem import diversity
from agentmem.evals.datasets import find_dataset, read_cases
from agentmem.evals.run import CUTS
from agentmem.memory import Memory
from benchmarks.fit_recall import KeptEmbedder, read_conversation

NAMESPACE = ("near-duplicates",)
SHIPPED = diversity.STRENGTH
TOPICS = {
    "What happened in the garden with the plants?": (
        "I watered the tomatoes in the garden",
        "I planted beans by the garden fence",
        "The window of the greenhouse in the garden broke in the storm",
        "We built a compost heap behind the shed in the garden",
        "The roses in the garden have black spots",
        "I ordered garlic for the garden, to plant in autumn",
    ),
    "What did I do for my running and my health?": (
        "I went running in the park",
        "My knee hurts when running downhill",
        "I bought new running shoes, the blue ones",
        "The doctor said that running is good for my heart",
        "I signed up for the running club on the hill",
        "I stopped running in the rain after my cold",
    ),
    "What about the cat?": (
        "I fed the cat",
        "The cat caught a mouse in the cellar",
        "The cat hates the new sofa",
        "The vet says that the cat is too heavy",
        "I let the neighbour look after the cat in summer",
        "The cat sleeps on my keyboard",
    ),
    "How is work going with the team?": (
        "I had a long meeting with the team at work",
        "My boss at work is leaving in spring",
        "The team moved to another office",
        "I asked for more pay at work",
        "Work gave me a new laptop",
        "The team won the prize for the best idea at work",
    ),
    "What do I cook for dinner?": (
        "I cooked pasta for dinner",
        "Dinner was burnt because of the broken oven",
        "I learnt to bake bread for dinner",
        "We invited the neighbours for dinner",
        "I cannot eat cheese at dinner any more",
        "I found grandmother's recipe for soup and cooked it for dinner",
    ),
}
BEFORE = ("", "Today too ", "As always ", "Again ", "Well, ", "This evening ")
AFTER = ("", " as usual", " again", " before going out", " like every day", " and then had a rest", " for a while")
Figures = dict[float, tuple[list[list[float]], list[float]]]


def diary(seed: int, repeats: int) -> list[tuple[str, str]]:
    """Texts, each with the statement that it makes."""
    chance, said = random.Random(seed), []
    for repeated, *once in TOPICS.values():
        wordings = chance.sample(list(itertools.product(BEFORE, AFTER)), repeats)
        said += [(f"{before}{repeated}{after}", repeated) for before, after in wordings]
        said += [(text, text) for text in once]
    return chance.sample(said, len(said))


def measure_diary(embedder: KeptEmbedder, repeats: int) -> Figures:
    figures: Figures = {0.0: ([], []), SHIPPED: ([], [])}
    for seed in range(4):
        with Memory("memory:", embedder=embedder) as memory:
            said = {
                memory.observe("user", text, namespace=NAMESPACE, session=str(n // 10)).id: statement
                for n, (text, statement) in enumerate(diary(seed, repeats))
            }
            memory.flush()
            for question, statements in TOPICS.items():
                for strength, keys in _asked(memory, question, figures):
                    found = [said[key] for key in keys]
                    shares = [len(set(found[:cut]) & set(statements)) / len(statements) for cut in CUTS]
                    figures[strength][0].append(shares)
    return figures


def measure_dataset(embedder: KeptEmbedder, folder: Path, name: str) -> Figures:
    figures: Figures = {0.0: ([], []), SHIPPED: ([], [])}
    dataset = find_dataset(name)
    for case in read_cases(dataset, folder / name):
        with Memory("memory:", embedder=embedder) as memory:
            turns = memory.observe_many(read_conversation(case.content), namespace=NAMESPACE).added
            memory.flush()
            key_of = {turn.id: dataset.key_of(turn) for turn in turns}
            for question in case.questions:
                for strength, ids in _asked(memory, question.text, figures):
                    keys = [key_of[found] for found in ids]
                    evidence = question.evidence
                    figures[strength][0].append([len(evidence & set(keys[:cut])) / len(evidence) for cut in CUTS])
    return figures


def _asked(memory: Memory, question: str, figures: Figures) -> Iterator[tuple[float, list[str]]]:
    for strength in figures:
        diversity.STRENGTH = strength
        started = time.perf_counter()
        found = memory.recall(question, namespace=NAMESPACE, k=max(CUTS))
        figures[strength][1].append((time.perf_counter() - started) * 1000)
        yield strength, [item.id for item in found.items]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--vectors", type=Path)
    chosen = parser.parse_args()
    embedder = KeptEmbedder(chosen.vectors)
    measured = {name: measure_dataset(embedder, chosen.folder, name) for name in ("locomo", "beam")}
    measured |= {f"diary, {n} wordings": measure_diary(embedder, n) for n in (8, 25, 40)}
    for name, figures in measured.items():
        for strength, (shares, times) in figures.items():
            print(f"{name:20} strength {strength}:", np.mean(shares, axis=0).round(4), f"{np.median(times):.2f} ms")


if __name__ == "__main__":
    main()
