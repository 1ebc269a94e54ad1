"""What `./taskw run` says when it is ready: where everything is, and what to type next."""

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from servicekit.runner import Address
from servicekit.terminal import wants_colour

BOLD, DIM, RESET = "\x1b[1m", "\x1b[2m", "\x1b[0m"


def reachable(address: Address) -> Address:
    """Return where a listener is reached from this machine, which is loopback when it listens on every address."""
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here
    return replace(address, host=loopback.get(address.host, address.host))


def welcome(at: Mapping[str, Address]) -> str:
    """Return the lines to print, with the client command that works from here; addresses by the names of listeners."""
    bold, dim, reset = (BOLD, DIM, RESET) if wants_colour(sys.stdout) else ("", "", "")
    client = _client_command()
    options = f"--history http://{at['history']}"
    return f"""
{bold}The chatbot is ready.{reset}

  chat      ws://{at["chat"]}/connect
  history   http://{at["history"]}/v1
  metrics   http://{at["chat-metrics"]}/metrics  http://{at["history-metrics"]}/metrics

In a second terminal, talk to it:

  {bold}{client} connect ws://{at["chat"]} --client-id you {options}{reset}

or send one thing, and read it all back:

  {client} send voice ws://{at["chat"]} samples/hello.mp3 --client-id you
  {client} history --client-id you {options}

{dim}Ctrl-C stops it; what was said stays in the data folder.{reset}
"""


def _client_command() -> str:
    """Return how to call the client of this environment, as short as it works from the current folder."""
    beside = Path(sys.executable).with_name("chat-client")
    if not beside.exists():
        return "chat-client"
    relative = os.path.relpath(beside)
    return shlex.quote(relative if not relative.startswith("..") else str(beside))
