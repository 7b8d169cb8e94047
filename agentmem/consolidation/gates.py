"""Whether an adapter is good enough to answer: each measure against its threshold, at a one-sided bound of 95 %.

A gate is passed only where the bound is on the right side: "as likely as not" is not enough. Below 150 items no bound
says much, so such a gate is "insufficient", and then the figure itself must reach the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from agentmem.consolidation.marking import Probe

Verdict: TypeAlias = Literal["passed", "insufficient", "failed"]
ENOUGH = 150
_CONFIDENCE = 0.95
_Z = 1.6449
"""The 95th percentile of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Shares of right answers are to be at least, losses and divergences at most. Measured without retrieval.

    `recall` is of trained questions, `wording` of others; `recognition` is how often a thought is likelier than a
    foil; `context` how often a memory that contradicts the adapter wins; `older`, `abstention` and `general` are the
    points lost of what was right before; `locality` is in nats a token.
    """

    recall: float = 0.90
    wording: float = 0.80
    recognition: float = 0.97
    older: float = 0.02
    abstention: float = 0.05
    context: float = 0.95
    general: float = 0.02
    locality: float = 0.02


@dataclass(frozen=True, slots=True)
class Gate:
    """One measure: `value` of `items`, the `bound` that it is held to, and the `threshold`."""

    name: str
    value: float
    bound: float
    threshold: float
    items: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Judgement:
    """All gates; an adapter may serve where none failed."""

    gates: tuple[Gate, ...]

    @property
    def passed(self) -> bool:
        return bool(self.gates) and all(gate.verdict != "failed" for gate in self.gates)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Which gates failed, and why."""
        return tuple(_reason(gate) for gate in self.gates if gate.verdict == "failed")

    def as_json(self) -> dict[str, Any]:
        return {"passed": self.passed, "gates": [asdict(gate) for gate in self.gates], "reasons": list(self.reasons)}


def _reason(gate: Gate) -> str:
    side = "at most" if gate.name in _LOSSES else "at least"
    return (
        f"{gate.name} is {gate.value:.3f} ({gate.items} items, bound {gate.bound:.3f}): {side} {gate.threshold:g} is "
        "wanted"
    )


_LOSSES = ("older", "oldest", "abstention", "general", "locality")


def judge(probes: Sequence[Probe], thresholds: Thresholds | None = None, *, oldest: Iterable[str] = ()) -> Judgement:
    """The gates of what was measured; `oldest` are the ids of the oldest tenth of what was learned before."""
    wanted = thresholds or Thresholds()
    by: dict[str, list[Probe]] = {}
    for probe in probes:
        by.setdefault(probe.aspect, []).append(probe)
    ancient = set(oldest)
    by["oldest"] = [probe for probe in by.get("older", []) if probe.thought in ancient]
    gates = [
        _share(name, by[name], getattr(wanted, name)) for name in ("recall", "wording", "recognition") if by.get(name)
    ]
    gates += [_loss(name, by[name], wanted.older) for name in ("older", "oldest") if by.get(name)]
    if by.get("general"):
        gates.append(_mean([p.kl for p in by["general"] if p.kl is not None], wanted.locality))
    gates += [_loss(name, by[name], getattr(wanted, name)) for name in ("abstention", "general") if by.get(name)]
    # What no memory makes the base say cannot be asked of the adapter either.
    context = [probe for probe in by.get("context", []) if probe.before]
    gates += [_share("context", context, wanted.context)] if context else []
    return Judgement(tuple(gates))


def _verdict(items: int, by_bound: bool, by_value: bool) -> Verdict:
    if items >= ENOUGH:
        return "passed" if by_bound else "failed"
    return "insufficient" if by_value else "failed"


def _share(name: str, probes: Sequence[Probe], threshold: float) -> Gate:
    right, items = sum(p.right for p in probes), len(probes)
    value, bound = right / items, lower_bound(right, items)
    return Gate(name, value, bound, threshold, items, _verdict(items, bound >= threshold, value >= threshold))


def _loss(name: str, probes: Sequence[Probe], threshold: float) -> Gate:
    """Points lost of what was right before: those that became wrong less those that became right."""
    lost, won = sum(p.before and not p.right for p in probes), sum(p.right and not p.before for p in probes)
    items = len(probes)
    value = (lost - won) / items
    bound = upper_bound(lost, items) - won / items
    return Gate(name, value, bound, threshold, items, _verdict(items, bound <= threshold, value <= threshold))


def _mean(values: Sequence[float], threshold: float) -> Gate:
    items, value = len(values), sum(values) / len(values)
    spread = math.sqrt(sum((v - value) ** 2 for v in values) / max(1, items - 1))
    bound = value + _Z * spread / math.sqrt(items)
    return Gate("locality", value, bound, threshold, items, _verdict(items, bound <= threshold, value <= threshold))


def lower_bound(right: int, items: int) -> float:
    """The exact one-sided 95 % lower bound of a share (Clopper & Pearson 1934)."""
    if right == 0:
        return 0.0
    return _root(lambda p: 1 - _at_most(right - 1, items, p) - (1 - _CONFIDENCE))


def upper_bound(right: int, items: int) -> float:
    """The exact one-sided 95 % upper bound of a share."""
    return 1 - lower_bound(items - right, items)


def _root(rising: Callable[[float], float]) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return low


def _at_most(count: int, items: int, p: float) -> float:
    """The chance of at most `count` successes in so many trials."""
    if p <= 0:
        return 1.0
    if p >= 1:
        return 1.0 if count >= items else 0.0
    total = math.lgamma(items + 1)
    logs = (
        total - math.lgamma(k + 1) - math.lgamma(items - k + 1) + k * math.log(p) + (items - k) * math.log1p(-p)
        for k in range(count + 1)
    )
    return min(1.0, math.fsum(map(math.exp, logs)))


def judgement_of(told: Mapping[str, Any]) -> Judgement:
    """What `Judgement.as_json` told."""
    return Judgement(tuple(Gate(**gate) for gate in told["gates"]))
