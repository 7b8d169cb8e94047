"""`agentmem.__all__` is the contract: sorted, complete, and every name can be had."""

from __future__ import annotations

import inspect

import pytest

import agentmem
import agentmem.errors
import agentmem.types


def test_names_are_sorted() -> None:
    assert agentmem.__all__ == sorted(agentmem.__all__)


@pytest.mark.parametrize("name", agentmem.__all__)
def test_name_can_be_imported(name: str) -> None:
    assert getattr(agentmem, name).__name__ == name


@pytest.mark.parametrize("name", agentmem.__all__)
def test_public_class_or_function_is_documented(name: str) -> None:
    value = getattr(agentmem, name)
    if not (inspect.isclass(value) and issubclass(value, agentmem.AgentmemError)):
        assert (inspect.getdoc(value) or "").strip()


def test_every_error_is_public() -> None:
    errors = {name for name, value in vars(agentmem.errors).items() if inspect.isclass(value)}
    assert errors <= set(agentmem.__all__)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Agnet'"):
        _ = agentmem.Agnet


def test_dir_shows_the_public_names() -> None:
    assert dir(agentmem) == agentmem.__all__
