"""Works with a memory beside Qdrant and dies by SIGKILL where that is next. Arguments: store, folder, what to do."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from agentmem import indexing
from agentmem_qdrant.index import QdrantIndex
from tests.qdrant.support import NS, fill, remember, settings_for


def die(*_given: Any, **_named: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(store: str, folder: str, what: str) -> None:
    memory = remember(store, settings_for(Path(folder)))
    if what == "embed":
        QdrantIndex.put = die  # type: ignore[method-assign]
        fill(memory)
    elif what == "embed half":
        real, left = QdrantIndex.put, [1]

        def put(self: QdrantIndex, *given: Any, **named: Any) -> None:
            real(self, *given, **named)
            if not left.pop():
                die()
            left.append(0)

        QdrantIndex.put = put  # type: ignore[method-assign]
        indexing._BATCH = 16
        fill(memory)
    else:
        QdrantIndex.remove = die  # type: ignore[method-assign]
        memory.forget([memory.turns(namespace=NS)[0].id], namespace=NS, echoes=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
