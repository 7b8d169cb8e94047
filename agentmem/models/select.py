"""Which model answers: the server that was named, else a vLLM on this machine, else none (the stand-in)."""

from __future__ import annotations

from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from agentmem.errors import ModelError
from agentmem.models.extractive import STAND_IN
from agentmem.models.server import get, on_this_machine

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from agentmem.config import Settings

LOCAL_SERVER = "http://localhost:8000/v1"
_LOOK_SECONDS = 0.3
_NAMED_SECONDS = 10.0
_ANSWER_SECONDS = 300.0
_NOTICE = (
    "No model server: answers quote what is remembered and conclude nothing. For a model, run "
    "`agentmem serve MODEL`, then `agentmem chat --base-url http://localhost:8000/v1`."
)


@dataclass(frozen=True, slots=True)
class ChosenModel:
    """A model (None: the stand-in), its name, and what the user should be told about the choice."""

    model: BaseChatModel | None
    label: str
    notice: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model is served: the server's OpenAI address, the model's name there, the key (None: it needs none).
    Where several servers stand behind the address, `replicas` are their own: what is loaded must be loaded in each."""

    address: str
    name: str
    key: str | None = None
    replicas: tuple[str, ...] = ()


def choose_model(settings: Settings, *, local: str = LOCAL_SERVER) -> ChosenModel:
    """The model at `settings.base_url`, else one served at `local`, else the stand-in.

    A model named without a server is looked for at `local`. Raises ModelError where a named server does not answer or
    serves nothing.
    """
    place = find_place(settings, local=local)
    if place is None:
        return ChosenModel(None, STAND_IN, _NOTICE)
    named = settings.base_url or settings.model
    notice = None if named else f"Answers come from {place.name}, found at {place.address}."
    return ChosenModel(_open_ai(place), place.name, notice)


def place_of(model: BaseChatModel, settings: Settings) -> Place | None:
    """Where a client's model is served; None for one that is no OpenAI-compatible server's."""
    address, name = getattr(model, "openai_api_base", None), getattr(model, "model_name", None)
    key: Any = getattr(model, "openai_api_key", None)
    if not isinstance(address, str) or not isinstance(name, str):
        return None
    address, secret = address.rstrip("/"), key.get_secret_value() if hasattr(key, "get_secret_value") else None
    ours = settings.base_url is not None and _checked(settings.base_url) == address
    return Place(address, name, secret, tuple(map(_checked, settings.replicas)) if ours else ())


def find_place(settings: Settings, *, local: str = LOCAL_SERVER) -> Place | None:
    """As `choose_model`, without a client made."""
    if settings.base_url or settings.model:
        address = _checked(settings.base_url or local)
        key = settings.api_key.get_secret_value() if settings.api_key else "none"
        name = settings.model or _first_model(address, key)
        if settings.model:
            _ask_for_models(address, key)
        return Place(address, name, key, tuple(map(_checked, settings.replicas)))
    found = _look(local)
    return None if found is None else Place(local, found)


def _checked(address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ModelError(f"{address!r} is no server's address: give one such as {LOCAL_SERVER}")
    return address.rstrip("/") if parts.path.strip("/") else address.rstrip("/") + "/v1"


def _first_model(address: str, key: str) -> str:
    names = _names(_ask_for_models(address, key))
    if not names:
        raise ModelError(f"the server at {address} lists no model: start it with one, or name one with --model")
    return names[0]


def _ask_for_models(address: str, key: str) -> Any:
    """What a named server says to GET /models; None where it has no such list."""
    try:
        return get(f"{address}/models", key, _NAMED_SECONDS)
    except HTTPError as error:
        if error.code in (401, 403):
            raise ModelError(
                f"the server at {address} refused the API key: set AGENTMEM_API_KEY or api_key in the settings"
            ) from error
        return None
    except (OSError, HTTPException) as error:
        raise ModelError(
            f"no model server answers at {address} ({error or type(error).__name__}): start one, for instance with "
            "`agentmem serve MODEL`, or name another with --base-url"
        ) from error


def _look(address: str) -> str | None:
    """The first model of an OpenAI-compatible server at a loopback address, None where there is no such server."""
    try:
        names = _names(get(f"{address}/models", None, _LOOK_SECONDS))
    except (OSError, HTTPException):
        return None
    return names[0] if names else None


def _names(said: Any) -> list[str]:
    """Names in an OpenAI list of models; none where it is something else."""
    if not isinstance(said, dict) or said.get("object") != "list" or not isinstance(said.get("data"), list):
        return []
    entries = [entry for entry in said["data"] if isinstance(entry, dict)]
    return [entry["id"] for entry in entries if entry.get("object") == "model" and isinstance(entry.get("id"), str)]


def _open_ai(place: Place) -> BaseChatModel:
    import openai
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    reach: dict[str, Any] = {"follow_redirects": False, "trust_env": not on_this_machine(place.address)}
    model = ChatOpenAI(
        model=place.name,
        base_url=place.address,
        api_key=SecretStr(place.key or "none"),
        timeout=openai.Timeout(_ANSWER_SECONDS, connect=_NAMED_SECONDS),
        max_retries=1,
        use_responses_api=False,
        stream_usage=True,
        http_client=openai.DefaultHttpxClient(**reach),
        http_async_client=openai.DefaultAsyncHttpxClient(**reach),
    )
    for client in (model.root_client, model.root_async_client):
        client.organization = client.project = None  # the environment's are for OpenAI, not for this server
    return model
