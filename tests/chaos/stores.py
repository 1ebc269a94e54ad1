"""The servers that a chaos may stop, empty and start again."""

import shutil
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

from devtools.ports import free_port
from devtools.valkey import run_valkey


class Store:
    """A server that can be started again in the same place."""

    def __init__(self, folder: Path, *, remembers: bool) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._remembers = remembers
        self._running = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, on what it remembers if it does."""
        valkey = self._running.enter_context(run_valkey(self._folder, self.port, appendonly=self._remembers))
        self._process = valkey.process

    def stop(self, *, kill: bool = False) -> None:
        """End it, in good order or not."""
        if kill and self._process is not None:
            self._process.kill()
        self.send_signal(signal.SIGCONT)
        self._running.close()

    def send_signal(self, number: int) -> None:
        """Stop it or let it go on."""
        if self._process is not None:
            self._process.send_signal(number)

    def forget(self) -> None:
        """Delete what it would remember; it must be stopped."""
        shutil.rmtree(self._folder / "appendonlydir", ignore_errors=True)
