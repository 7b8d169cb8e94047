"""The one Settings: read from a TOML file, overlaid by AGENTMEM_* variables, overlaid by arguments.

pydantic-settings takes 0.15 s to import, so it is imported only where there is something for it to check: a settings
file, or a variable or argument other than the store and the namespace.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from agentmem.errors import NamespaceError, SettingsError
from agentmem.namespaces import check_namespace, parse_namespace
from agentmem.types import Namespace

if TYPE_CHECKING:
    from pydantic import BeforeValidator, Field, SecretStr, ValidationError
    from pydantic_core import ErrorDetails
    from pydantic_settings import BaseSettings, NoDecode

ENV_PREFIX = "AGENTMEM_"


def config_path() -> Path:
    """The settings file; it need not exist."""
    from platformdirs import user_config_path

    return user_config_path("agentmem", appauthor=False) / "config.toml"


def default_store() -> str:
    from platformdirs import user_data_path

    return str(user_data_path("agentmem", appauthor=False) / "memory.db")


def default_namespace() -> Namespace:
    """The user's name as a namespace; ("default",) where the system knows none."""
    from getpass import getuser

    try:
        return (getuser() or "default",)
    except (OSError, KeyError, ImportError):  # a container's numeric user has no name
        return ("default",)


def _namespace(value: Any) -> Namespace:
    return parse_namespace(value) if isinstance(value, str) else check_namespace(value)


def _store(value: Any) -> str:
    """A path without "~"; a URL such as `memory:` or `postgresql://…` stays as it is."""
    if not isinstance(value, (str, Path)) or not str(value).strip():
        raise SettingsError(f"the store is a path or a URL; got {value!r}")
    return os.path.expanduser(value)  # pathlib would fold the slashes of a URL


def _folder(value: Any) -> str | None:
    return None if value is None else os.path.expanduser(str(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings with their defaults. `load_settings` reads and checks them.

    `store` is a path or a URL; `retention_days` is the age at which turns are forgotten, None never; `chunk_turns` is
    the number of turns that close a chunk; `think` has a model think about each exchange behind its answer; `api_key`
    goes to the model server at `base_url` and is never shown; `replicas` are the addresses of the servers behind it,
    where there are several. `base` is the folder of the model that is served, which consolidation trains adapters of;
    `adapters` is the folder that these lie in; `adapter_answers` says which questions go to the one in service, all or
    those related to what it learned; `gates` are thresholds that differ from those of `agentmem.consolidation.gates`.
    `keys` are the chat's where they differ: what they do, and the key.
    """

    store: Annotated[str, BeforeValidator(_store)] = field(default_factory=default_store)
    namespace: Annotated[Namespace, NoDecode, BeforeValidator(_namespace)] = field(default_factory=default_namespace)
    embedder: str = "bundled"
    embedder_device: str = "cpu"
    model: str | None = None
    base_url: str | None = None
    replicas: list[str] = field(default_factory=list)
    api_key: SecretStr | None = None
    vllm_python: str | None = None
    base: str | None = None
    adapters: Annotated[str | None, BeforeValidator(_folder)] = None
    adapter_answers: Literal["all", "related"] = "all"
    gates: dict[str, float] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    reranker: str | None = None
    rerank_items: Annotated[int, Field(ge=2, le=1000)] = 30
    index: str = "auto"
    recall_items: Annotated[int, Field(ge=1, le=1000)] = 10
    prompt_budget_tokens: Annotated[int, Field(ge=100)] = 1500
    think: bool = True
    chunk_turns: Annotated[int, Field(ge=2, le=1000)] = 8
    retention_days: Annotated[float | None, Field(gt=0)] = None
    busy_timeout_seconds: Annotated[float, Field(ge=0)] = 30.0


_CONVERTERS: dict[str, Callable[[Any], Any]] = {"store": _store, "namespace": _namespace}
NAMES = tuple(sorted(f.name for f in fields(Settings)))
Source = Literal["argument", "environment", "file", "default"]


def load_settings(**overrides: Any) -> Settings:
    """Settings from the file, AGENTMEM_* variables and `overrides`, the later winning; an override of None is none.

    `namespace` may be a string in the command line's form. Raises SettingsError, one line that names the setting and
    where it was set.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    values = {**_environment(), **given}
    if values.keys() <= _CONVERTERS.keys() and not config_path().exists():
        return Settings(**{name: _CONVERTERS[name](value) for name, value in values.items()})
    return _validated(given)


def setting_sources(**overrides: Any) -> dict[str, Source]:
    """Where each setting comes from."""
    layers: list[tuple[Source, Mapping[str, Any]]] = [
        ("argument", {name: value for name, value in overrides.items() if value is not None}),
        ("environment", _environment()),
        ("file", _file_values(config_path())),
    ]
    return {name: next((source for source, layer in layers if name in layer), "default") for name in NAMES}


def unknown_variables() -> list[str]:
    """AGENTMEM_* variables that no setting has: most likely typing errors."""
    known = {ENV_PREFIX + name.upper() for name in NAMES}
    return sorted(name for name in os.environ if name.upper().startswith(ENV_PREFIX) and name.upper() not in known)


def _environment() -> dict[str, str]:
    values = {name.upper(): value for name, value in os.environ.items()}
    return {name: value for name in NAMES if (value := values.get(ENV_PREFIX + name.upper()))}


def _file_values(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"the settings file {path} is not valid TOML: {error}; correct or remove it") from error


def _validated(given: Mapping[str, Any]) -> Settings:
    from pydantic import ValidationError

    path = config_path()
    values = _file_values(path)
    if unknown := sorted(set(values) - set(NAMES)):
        raise SettingsError(f"unknown setting {unknown[0]!r} in {path}; the settings are {', '.join(NAMES)}")
    if unknown := sorted(set(given) - set(NAMES)):
        raise SettingsError(f"unknown setting {unknown[0]!r}; the settings are {', '.join(NAMES)}")
    try:
        checked = _model(values)(**given)
    except ValidationError as error:
        raise SettingsError(_explain(error, given, path)) from error
    except NamespaceError as error:
        raise SettingsError(str(error)) from error
    return Settings(**{name: getattr(checked, name) for name in NAMES})


def _model(file_values: Mapping[str, Any]) -> type[BaseSettings]:
    """The pydantic-settings model of `Settings`, whose defaults are the file's values.

    So arguments win over variables and these over the file, as pydantic-settings has it of itself.
    """
    from pydantic import BeforeValidator, Field, SecretStr, create_model
    from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

    class Checked(BaseSettings):
        model_config = SettingsConfigDict(
            env_prefix=ENV_PREFIX, env_ignore_empty=True, validate_default=True, hide_input_in_errors=True
        )

    names = {"BeforeValidator": BeforeValidator, "Field": Field, "NoDecode": NoDecode, "SecretStr": SecretStr}
    hints = get_type_hints(Settings, localns=names, include_extras=True)
    defaults = Settings()
    declared: dict[str, Any] = {n: (hints[n], file_values.get(n, getattr(defaults, n))) for n in NAMES}
    return create_model("Settings", __base__=Checked, **declared)


def _explain(error: ValidationError, given: Mapping[str, Any], path: Path) -> str:
    first: ErrorDetails = error.errors(include_url=False, include_input=False)[0]
    name = str(first["loc"][0]) if first["loc"] else "?"
    if name in given:
        where = "as given"
    elif name in _environment():
        where = f"in the variable {ENV_PREFIX}{name.upper()}"
    else:
        where = f"in {path}"
    return f"setting {name} {where}: {first['msg'][:1].lower()}{first['msg'][1:]}"
