"""The tiny service as a process that gets signals."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from devtools.servers import ROOT

SECONDS = 60.0


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something another process does."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@dataclass
class Tiny:
    """One running process."""

    folder: Path
    process: "subprocess.Popen[bytes]"

    @property
    def output(self) -> str:
        return (self.folder / "output").read_text()

    def events(self) -> list[dict[str, Any]]:
        """What it has logged; everything it writes must be events."""
        return [json.loads(line) for line in self.output.splitlines()]

    def told(self) -> list[str]:
        return [event["event"] for event in self.events()]

    @property
    def url(self) -> str:
        (listening,) = (event for event in self.events() if event["event"] == "listening")
        return f"http://{listening['tea']}"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, and wait until it has been received."""
        before = self.told().count("signal received")
        self.process.send_signal(number)
        wait_until(lambda: self.told().count("signal received") > before, "it does not hear the signal")

    def go_on(self) -> None:
        (self.folder / "go-on").touch()

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urlopen(self.url + path, timeout=SECONDS) as response:
                return response.status, response.read().decode()
        except HTTPError as exc:
            with exc:
                return exc.code, exc.read().decode()

    def exit_code(self) -> int:
        return self.process.wait(SECONDS)

    @property
    def closed_in_order(self) -> bool:
        """Whether it came to the end of its own code."""
        return (self.folder / "closed").exists()


@contextmanager
def tiny(folder: Path, *words: str, port: int = 0) -> Iterator[Tiny]:
    """Run one, from the moment at which it listens or has ended."""
    with (folder / "output").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.servicekit.tiny_service", str(folder), str(port), *words],
            stdout=out,
            stderr=out,
            cwd=ROOT,
        )
    service = Tiny(folder, process)
    try:
        wait_until(lambda: process.poll() is not None or '"listening"' in service.output, "it does not start")
        yield service
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
