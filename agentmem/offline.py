"""Nothing leaves the machine but calls to the servers that the user named: dependencies' own calls are turned off."""

from __future__ import annotations

import os
from pathlib import Path

OFF = {
    "LANGSMITH_TRACING": "false",
    "LANGSMITH_TRACING_V2": "false",
    "LANGCHAIN_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    # Not a call, but as little asked for: their bars while weights load.
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
}
"""What a process's environment says so that its dependencies call nobody."""


def go_offline() -> None:
    """Set this process's environment, over what the caller's says, before a dependency reads it."""
    os.environ.update(OFF)


def local_model(name: str, organisation: str) -> Path | None:
    """The files of a model in a folder, or in the hub's cache under its name or the organisation's; None where they are
    not on this machine."""
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    go_offline()
    from huggingface_hub import snapshot_download

    for candidate in dict.fromkeys((name, name if "/" in name else f"{organisation}/{name}")):
        try:
            return Path(snapshot_download(candidate, local_files_only=True))
        except (OSError, ValueError):
            continue
    return None
