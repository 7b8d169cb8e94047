"""Evaluation on public conversations: does recall find the labelled evidence, and in what time."""

from agentmem.evals.datasets import DATASETS
from agentmem.evals.run import run_eval

__all__ = ["DATASETS", "run_eval"]
