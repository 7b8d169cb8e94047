"""Evaluation on public conversations: does recall find the labelled evidence, and in what time."""
