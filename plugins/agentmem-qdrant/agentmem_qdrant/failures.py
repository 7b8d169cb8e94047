"""What Qdrant's client raises, as one line that says what to do."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from agentmem.errors import VectorIndexError, first_line
from agentmem_qdrant.options import KEY


class Gone(VectorIndexError):
    """The collection, or a part of it, is not there."""


@contextmanager
def told(where: str) -> Iterator[None]:
    """Raises VectorIndexError for whatever goes wrong; of its kinds, Gone for what is not there."""
    from grpc import RpcError
    from qdrant_client.http.exceptions import ApiException

    try:
        yield
    except VectorIndexError:
        raise
    except (ApiException, RpcError, OSError, ValueError, RuntimeError, sqlite3.Error) as error:
        _raise(where, error)


def _raise(where: str, error: Exception) -> NoReturn:
    status, said = _status(error), _said(error)
    if status in ("404", "NOT_FOUND") or "not found" in said or "doesn't exist" in said:
        raise Gone(f"{where}: it is not there any more; it is made anew behind the answers") from error
    if status in ("401", "403", "UNAUTHENTICATED", "PERMISSION_DENIED"):
        raise VectorIndexError(f"{where}: the API key is missing or wrong; set the variable {KEY}") from error
    if "already accessed by another instance" in said:
        raise VectorIndexError(
            f"{where}: another process has this folder open; end it, or run a server for several (qdrant://HOST:6333)"
        ) from error
    if status in ("", "UNAVAILABLE", "DEADLINE_EXCEEDED") and not isinstance(error, ValueError):
        raise VectorIndexError(f"{where}: it cannot be reached ({said}); start it, or set `index` to auto") from error
    raise VectorIndexError(f"{where}: it refused: {said}") from error


def _status(error: Exception) -> str:
    """Of HTTP or gRPC; "" where there was no answer."""
    if code := getattr(error, "status_code", None):
        return str(code)
    code = getattr(error, "code", None)
    return str(code().name) if callable(code) else ""


def _said(error: Exception) -> str:
    """The reason in a few words: what the server said, or why there was no answer."""
    content = getattr(error, "content", None)
    if isinstance(content, bytes):
        try:
            return first_line(ValueError(json.loads(content)["status"]["error"]))
        except (ValueError, KeyError, TypeError):
            return first_line(ValueError(content.decode("utf-8", "replace")))
    details = getattr(error, "details", None)
    return first_line(ValueError(details()) if callable(details) else getattr(error, "source", error))
