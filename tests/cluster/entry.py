"""The way into the cluster: haproxy before the node ports, as a load balancer would stand there.

The node ports are looked for on 127.0.0.1. A cluster that has an entry of its own is told by CHATBOT_E2E_CHAT
(ws://… or wss://…) and CHATBOT_E2E_HISTORY (http://… or https://…).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devtools.balancer import balancer

NODE_PORTS = {"chat": [30080], "history": [30081]}  # as in values.yaml


@dataclass(frozen=True)
class Entry:
    """Addresses for clients."""

    chat: str
    history: str


@contextmanager
def open_entry(folder: Path) -> Iterator[Entry]:
    """Open it for the length of a `with` block."""
    chat, history = os.environ.get("CHATBOT_E2E_CHAT"), os.environ.get("CHATBOT_E2E_HISTORY")
    if chat and history:
        yield Entry(chat, history)
        return
    with balancer(NODE_PORTS, folder) as ports:
        yield Entry(f"ws://127.0.0.1:{ports['chat'][0]}", f"http://127.0.0.1:{ports['history'][0]}")
