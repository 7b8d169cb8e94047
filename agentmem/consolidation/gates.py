"""Whether an adapter is good enough to answer: each measure against its threshold, at a one-sided bound of 95 %.

A gate is passed only where the bound is on the right side: "as likely as not" is not enough. Below 150 items no bound
says much (nor where not even a flawless result could pass), so such a gate is "insufficient", and an absolute floor
decides. Of shares and divergences the figure itself must reach the threshold. What was lost is told by pairs of answers
to the same questions, and of few one that changed by chance is many points: such a gate fails where the loss is proven,
its lower bound above the threshold, or where it is more than a tenth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from agentmem.consolidation.bounds import least_lost, lower_bound, mean_bound, most_lost
from agentmem.consolidation.marking import Probe

Verdict: TypeAlias = Literal["passed", "insufficient", "failed"]
ENOUGH = 150
_FLOOR = 0.1
"""Of what was right before, no more than this share may be lost, however few were asked."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Shares of right answers are to be at least, losses and divergences at most. Measured without retrieval, but for
    `retrieval`.

    `recall` is of trained questions, `wording` of others; `recognition` is how often a thought is likelier than a
    foil; `context` how often a memory that contradicts the adapter wins. The points lost of what was right before are
    `older`, `abstention`, `general`, `retrieval` (with a memory in the prompt), `form` (JSON under its schema, tool
    calls that can be carried out) and `calls` (what these say). `locality` is in nats a token.
    """

    recall: float = 0.90
    wording: float = 0.80
    recognition: float = 0.97
    older: float = 0.02
    abstention: float = 0.05
    context: float = 0.95
    general: float = 0.02
    locality: float = 0.02
    retrieval: float = 0.02
    form: float = 0.01
    calls: float = 0.05


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
    side = "at most" if gate.name in LOSSES else "at least"
    return (
        f"{gate.name} is {gate.value:.3f} ({gate.items} items, bound {gate.bound:.3f}): {side} {gate.threshold:g} is "
        "wanted"
    )


_SHARES = ("recall", "wording", "recognition")
_LOST = ("abstention", "general", "retrieval", "form", "calls")
LOSSES = ("older", "oldest", "locality", *_LOST)
"""The gates whose figure must be at most its threshold; of the others it must be at least that."""


def judge(probes: Sequence[Probe], thresholds: Thresholds | None = None, *, oldest: Iterable[str] = ()) -> Judgement:
    """The gates of what was measured; `oldest` are the ids of the oldest tenth of what was learned before."""
    wanted = thresholds or Thresholds()
    by: dict[str, list[Probe]] = {}
    for probe in probes:
        by.setdefault(probe.aspect, []).append(probe)
    ancient = set(oldest)
    by["oldest"] = [probe for probe in by.get("older", []) if probe.thought in ancient]
    gates = [_share(name, by[name], getattr(wanted, name)) for name in _SHARES if by.get(name)]
    gates += [_loss(name, by[name], wanted.older) for name in ("older", "oldest") if by.get(name)]
    if divergences := [p.kl for p in by.get("general", []) if p.kl is not None]:
        gates.append(_mean(divergences, wanted.locality))
    gates += [_loss(name, by[name], getattr(wanted, name)) for name in _LOST if by.get(name)]
    # What no memory makes the base say cannot be asked of the adapter either.
    context = [probe for probe in by.get("context", []) if probe.before]
    gates += [_share("context", context, wanted.context)] if context else []
    return Judgement(tuple(gates))


def _verdict(items: int, by_bound: bool, by_floor: bool, *, enough: bool = True) -> Verdict:
    """`enough`: so many items that a flawless result would pass."""
    if items >= ENOUGH and enough:
        return "passed" if by_bound else "failed"
    return "insufficient" if by_floor else "failed"


def _share(name: str, probes: Sequence[Probe], threshold: float) -> Gate:
    right, items = sum(p.right for p in probes), len(probes)
    value, bound = right / items, lower_bound(right, items)
    return Gate(name, value, bound, threshold, items, _verdict(items, bound >= threshold, value >= threshold))


def _loss(name: str, probes: Sequence[Probe], threshold: float) -> Gate:
    """Points lost of what was right before: those that became wrong less those that became right, item by item."""
    lost, won = sum(p.before and not p.right for p in probes), sum(p.right and not p.before for p in probes)
    items = len(probes)
    value, bound = (lost - won) / items, most_lost(lost, won, items)
    tolerable = least_lost(lost, won, items) <= threshold and value <= max(threshold, _FLOOR)
    enough = most_lost(0, 0, items) <= threshold
    return Gate(name, value, bound, threshold, items, _verdict(items, bound <= threshold, tolerable, enough=enough))


def _mean(values: Sequence[float], threshold: float) -> Gate:
    items, value, bound = len(values), sum(values) / len(values), mean_bound(values)
    return Gate("locality", value, bound, threshold, items, _verdict(items, bound <= threshold, value <= threshold))


def judgement_of(told: Mapping[str, Any]) -> Judgement:
    """What `Judgement.as_json` told."""
    return Judgement(tuple(Gate(**gate) for gate in told["gates"]))
