"""Remember a recorded conversation, and recall from it with the reasons.

python examples/ingest_conversation.py [CONVERSATION [QUESTION]]
"""

from __future__ import annotations

import sys
from pathlib import Path

from agentmem import Memory
from agentmem.ingest import read_turns

NAMESPACE = ("examples", "mara")
MARA = Path(__file__).parent / "data" / "mara.jsonl"


def main(conversation: Path = MARA, question: str = "Where is the studio now?") -> None:
    with Memory("memory:") as memory:
        observed = memory.observe_many(read_turns(conversation), namespace=NAMESPACE)
        again = memory.observe_many(read_turns(conversation), namespace=NAMESPACE)
        memory.flush()  # embed now, in large batches, instead of bit by bit behind the answers
        print(f"{len(observed.added)} turns remembered; a second time {len(again.added)}, {again.known} were known")

        print(question)
        found = memory.recall(question, namespace=NAMESPACE, k=3)
        for rank, item in enumerate(found.items, 1):
            print(f"{rank}. {item.time:%d %B %Y}, {item.source['session']}: {item.text}")
            print(f"   {item.why}")

        print("What stood around the first of them:")
        for turn in memory.open_chunk(found.items[0].id, namespace=NAMESPACE):
            print(f"   {turn.speaker or turn.role}: {turn.text}")


if __name__ == "__main__":
    main(*(cast(text) for cast, text in zip((Path, str), sys.argv[1:], strict=False)))
