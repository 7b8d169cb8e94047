"""Nothing leaves the machine but calls to the servers that the user named: dependencies' own calls are turned off."""

from __future__ import annotations

import os

_OFF = {
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


def go_offline() -> None:
    """Set this process's environment, over what the caller's says, before a dependency reads it."""
    os.environ.update(_OFF)
