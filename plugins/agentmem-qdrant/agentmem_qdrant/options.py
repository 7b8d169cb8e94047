"""What an index's URL says: where Qdrant is, and how a collection is made there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from agentmem.errors import SettingsError

KEY = "QDRANT_API_KEY"
"""The variable that the server's key is in: a URL is shown and written down."""
_NUMBERS = ("grpc", "replicas", "write_consistency", "shards", "timeout")
_CHOICES = {"https": ("true", "false"), "shard_by": ("namespace",)}
_KNOWN = ("collection", *_CHOICES, *_NUMBERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`url` is as it was given. Qdrant is at `host`, or else in this process, in `folder` or (None) in RAM.

    The others hold for a server: `grpc` is a port to talk to instead; `timeout` is in seconds. A collection that is not
    there yet is made of `shards` parts, each on `replicas` machines, of which `write_consistency` have to confirm a
    write; with `by_namespace` each namespace has a part of its own.
    """

    url: str
    host: str | None = None
    port: int = 6333
    folder: str | None = None
    collection: str = "agentmem"
    https: bool = False
    grpc: int | None = None
    timeout: int = 5
    replicas: int | None = None
    write_consistency: int | None = None
    shards: int | None = None
    by_namespace: bool = False

    def client(self) -> dict[str, Any]:
        """What `QdrantClient` is made with."""
        if self.host is None:
            place = {"location": ":memory:"} if self.folder is None else {"path": self.folder}
            # The index lets one thread at a time in.
            return {**place, "force_disable_check_same_thread": True}
        return {
            "host": self.host,
            "port": self.port,
            "https": self.https,
            "grpc_port": self.grpc or 6334,
            "prefer_grpc": self.grpc is not None,
            "timeout": self.timeout,
            "api_key": os.environ.get(KEY) or None,
            "check_compatibility": False,
        }


def read_url(url: str) -> Options:
    """Raises SettingsError, one line, for a URL that says what cannot be."""
    parts = urlsplit(url)
    said = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = [name for name in said if name not in _KNOWN]
    if unknown:
        raise SettingsError(f"index {url!r}: there is no option {unknown[0]!r}; there are {', '.join(sorted(_KNOWN))}")
    if parts.username or parts.password:
        raise SettingsError(f"an index's URL holds no key: it goes into the variable {KEY}")
    given: dict[str, Any] = {name: _number(url, name, said[name]) for name in _NUMBERS if name in said}
    for name, choices in _CHOICES.items():
        if said.get(name, choices[0]) not in choices:
            raise SettingsError(f"index {url!r}: {name} is {' or '.join(choices)}")
    return Options(
        url=url,
        **_place(url),
        **given,
        collection=said.get("collection") or "agentmem",
        https=said.get("https") == "true",
        by_namespace="shard_by" in said,
    )


def _place(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc:
        try:
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise SettingsError(f"index {url!r}: {error}") from None
        if not host or path.strip("/"):
            raise SettingsError(f"index {url!r}: it is qdrant://HOST:PORT?collection=NAME, or qdrant:///FOLDER")
        return {"host": host, "port": port or 6333}
    if path == "memory":
        return {}
    if not path.strip("/"):
        raise SettingsError(f"index {url!r}: name a server (qdrant://HOST:6333) or a folder (qdrant:///FOLDER)")
    return {"folder": path}


def _number(url: str, name: str, value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise SettingsError(f"index {url!r}: {name} is a number of 1 or more")
    return int(value)
