"""Our services as real processes: started on ports of their own choice, watched through their logs, ended by pid."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

START_SECONDS = 90.0
STOP_SECONDS = 120.0


@dataclass
class ServiceProcess:
    """One running service process.

    Attributes:
        module: what runs, as `python -m` names it.
        log: where its output goes, JSON lines.
        ports: the ports it listens on, by the name of the listener.
    """

    module: str
    log: Path
    process: "subprocess.Popen[bytes]"
    ports: Mapping[str, int] = field(default_factory=dict)

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield what it has logged so far."""
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event

    def count(self, event: str) -> int:
        """Return how often it has logged an event."""
        return sum(entry.get("event") == event for entry in self.events())

    def wait_for_ports(self) -> None:
        """Wait until it says where it listens."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for event in self.events():
                if event.get("event") == "listening":
                    names = [name for name in event if name.split("-")[0] in {"chat", "history"}]
                    self.ports = {name: int(str(event[name]).rpartition(":")[2]) for name in names}
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"{self.module} did not start:\n{self.log.read_text(errors='replace')[-4000:]}")

    def printed(self, text: str) -> str:
        """Wait until the log holds a text; return the whole log."""
        deadline = time.monotonic() + START_SECONDS
        while text not in (written := self.log.read_text()):
            assert time.monotonic() < deadline, f"{text!r} was not printed; this was: {written}"
            time.sleep(0.02)
        return written

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def stop(self) -> int:
        """Stop it and return its exit code. If it does not end in time, it is killed and the test fails."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.module} did not stop:\n{self.log.read_text()[-4000:]}") from None


def start(module: str, log: Path, settings: Mapping[str, object], *, max_files: int | None = None) -> ServiceProcess:
    """Start a service with these settings and no others; wait until it listens.

    With `max_files` it may have so many file descriptors.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CHAT_", "HISTORY_"))}
    environment = {**clean, **{name: str(value) for name, value in settings.items()}}
    with log.open("ab") as out:
        process = subprocess.Popen(
            [
                *([] if max_files is None else ["sh", "-c", f'ulimit -n {max_files} && exec "$@"', "sh"]),
                sys.executable,
                "-m",
                module,
            ],
            stdout=out,
            stderr=out,
            env=environment,
            cwd=log.parent,
            process_group=0,  # Ctrl-C must not reach it; the caller stops it
        )
    service = ServiceProcess(module, log, process)
    try:
        service.wait_for_ports()
    except BaseException:
        process.kill()
        process.wait()
        raise
    return service


@contextmanager
def running(
    module: str, log: Path, settings: Mapping[str, object], *, max_files: int | None = None
) -> Iterator[ServiceProcess]:
    """Run a service for the length of a `with` block."""
    service = start(module, log, settings, max_files=max_files)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.stop()
