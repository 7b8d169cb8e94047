"""The TOML of a trial: settings and weights of recall to try in place of the shipped ones."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from agentmem.config import NAMES
from agentmem.errors import SettingsError
from agentmem.fusion import DEFAULT, Weights

_TABLE = "weights"
# An evaluation has stores of its own, and the model and its server are named as everywhere else.
_NO_PART = {"store", "namespace", "model", "base_url", "api_key", "retention_days", "busy_timeout_seconds"}
SETTINGS = tuple(name for name in NAMES if name not in _NO_PART)
"""The settings that bear on recall."""


def read_config(file: Path) -> tuple[dict[str, Any], Weights]:
    """The settings in a file, for `load_settings` to check, and the shipped weights with those of its table [weights].

    Raises SettingsError for an unknown name and an impossible weight.
    """
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not valid TOML: {error}") from error
    weights = values.pop(_TABLE, {})
    if unknown := sorted(values.keys() - set(SETTINGS)):
        raise SettingsError(
            f"unknown setting {unknown[0]!r} in {file}; to try are {', '.join(SETTINGS)} and the table [{_TABLE}]"
        )
    if not isinstance(weights, dict):
        raise SettingsError(f"{_TABLE} in {file} is a table: write [{_TABLE}] and below it lines such as meaning = 5.0")
    return values, _weights(weights, file)


def _weights(values: Mapping[str, Any], file: Path) -> Weights:
    names = [field.name for field in fields(Weights)]
    if unknown := sorted(values.keys() - set(names)):
        raise SettingsError(f"unknown weight {unknown[0]!r} in {file}; the weights are {', '.join(names)}")
    tried = replace(DEFAULT, **{name: _number(name, value, file) for name, value in values.items()})
    if not any(asdict(tried).values()):
        raise SettingsError(f"all weights in {file} are 0: nothing would be found; leave at least one above 0")
    return tried


def _number(name: str, value: Any, file: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SettingsError(f"weight {name} in {file} is a finite number, not {value!r}")
    if value < 0 <= getattr(DEFAULT, name):
        raise SettingsError(f"weight {name} in {file} is {value}: it says how much a signal counts, 0 being not at all")
    return float(value)
