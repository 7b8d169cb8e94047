"""Forgetting curves: what is still known after many cycles of consolidation, strategy by strategy.

    python benchmarks/retention.py [STRATEGY...] [--cycles N] [--facts N] [--seeds N] [--jobs N] [--into FOLDER]

`agentmem eval retention` for as many cycles as the documentation shows; every strategy there is, where none is named.
A cycle of the default learns all facts so far, so T cycles take about T²/2 times the first. With `--into` what was
stopped goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from agentmem.cli import cli, guard


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Forgetting curves of consolidation.")
    parser.add_argument("strategies", nargs="*", default=["all"])
    parser.add_argument("--cycles", default="10")
    parser.add_argument("--facts", default="50", help="new ones each cycle")
    chosen, rest = parser.parse_known_args(arguments)
    named = [word for strategy in chosen.strategies for word in ("--strategy", strategy)]
    call = ["eval", "retention", *named, "--cycles", chosen.cycles, "--facts", chosen.facts, *rest]
    return guard(lambda: cli.main(call, standalone_mode=False))


if __name__ == "__main__":
    raise SystemExit(main())
