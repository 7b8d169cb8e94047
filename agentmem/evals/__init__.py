"""Evaluation on labelled conversations: does recall find the evidence, at what length, in what time, and what do a
model's answers make of it."""

from agentmem.evals.baselines import BASELINES
from agentmem.evals.datasets import DATASETS
from agentmem.evals.run import run_eval

__all__ = ["BASELINES", "DATASETS", "run_eval"]
