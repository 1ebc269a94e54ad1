"""The installed servers for tests, and their processes."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
START_SECONDS = 90.0
STOP_SECONDS = 60.0


def servers_environment() -> Path:
    """Return the environment that `./taskw test` installs the servers into."""
    return Path(os.environ.get("CHATBOT_SERVERS") or ROOT / ".venv-servers")


def in_environment(pattern: str) -> Path:
    """Return the one file of that environment that matches a glob."""
    found = sorted(servers_environment().glob(pattern))
    if not found:
        raise FileNotFoundError(f"{pattern} is not in {servers_environment()}; run ./taskw setup:test")
    return found[0]


@contextmanager
def server(
    command: Sequence[str | Path],
    log: Path,
    ready: Callable[[], bool],
    *,
    env: Mapping[str, str] | None = None,
    executable: Path | None = None,
) -> "Iterator[subprocess.Popen[bytes]]":
    """Run a server for the length of a `with` block, entered when it is ready.

    Args:
        command: its name and arguments.
        log: where it writes.
        ready: whether it answers.
        env: what is added to the environment.
        executable: the program, where that is not what the command begins with.
    """
    with log.open("ab") as out:
        process = subprocess.Popen(
            [str(part) for part in command],
            executable=executable,
            stdout=out,
            stderr=out,
            env={**os.environ, **(env or {})},
            process_group=0,  # Ctrl-C must not reach it; the caller stops it
        )
    try:
        wait_until(ready, lambda: process.poll() is None, f"{command[0]} is not ready", log)
        yield process
    finally:
        stop(process)


def wait_until(ready: Callable[[], bool], alive: Callable[[], bool], what: str, log: Path) -> None:
    """Wait until `ready()`; fail with the end of the log when it takes too long or the process is gone."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and alive():
        if ready():
            return
        time.sleep(0.02)
    raise AssertionError(f"{what}:\n{log.read_text(errors='replace')[-3000:]}")


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a process that we started."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
