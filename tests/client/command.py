"""`chat-client` as a program: called by its pipes, or on a terminal of its own."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

COMMAND = [sys.executable, "-m", "chat_client"]
ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07]*\x07|[()][A-Z0-9]|[=>])")
PATIENCE_SECONDS = 60.0


def environment(**variables: str) -> dict[str, str]:
    """Return an environment in which nothing of ours is set but these variables."""
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("CHAT_", "HISTORY_", "NO_COLOR"))
    }
    return {**clean, "TERM": "xterm", "COLUMNS": "120", "LINES": "40", **variables}


class Terminal:
    """A terminal with `chat-client` on it."""

    def __init__(self, descriptor: int, process: "subprocess.Popen[bytes]") -> None:
        self.descriptor = descriptor
        self.process = process
        self.raw = ""
        self._seen = 0

    def type(self, keys: str) -> None:
        """Press keys; a line ends with a carriage return, as on a keyboard."""
        os.write(self.descriptor, keys.encode())

    def expect(self, text: str) -> str:
        """Wait until it shows a text; return what came until then, without colours and cursor movements."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            shown = self.shown[self._seen :]
            at = shown.find(text)
            if at >= 0:
                self._seen += at + len(text)
                return shown[: at + len(text)]
            if not self._read():
                break
        raise AssertionError(f"{text!r} was not shown; this was: {self.shown[self._seen :]!r}")

    def wait(self) -> int:
        """Wait until it has ended; return its exit code."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._read():
            assert time.monotonic() < deadline, f"it does not end; it shows {self.shown[-500:]!r}"
        return self.process.wait(PATIENCE_SECONDS)

    @property
    def shown(self) -> str:
        """All that it has shown, without colours and cursor movements."""
        return ESCAPES.sub("", self.raw)

    def _read(self) -> bool:
        ready, _, _ = select.select([self.descriptor], [], [], 0.2)
        if not ready:
            return self.process.poll() is None
        try:
            data = os.read(self.descriptor, 65536)
        except OSError:  # how Linux says that the other side is closed
            return False
        self.raw += data.decode(errors="replace")
        if "\x1b[6n" in data.decode(errors="replace"):  # it asks where the cursor is
            os.write(self.descriptor, b"\x1b[1;1R")
        return bool(data)


@contextmanager
def on_terminal(folder: Path, *words: object, command: Sequence[str] = COMMAND, **variables: str) -> Iterator[Terminal]:
    """Run `chat-client`, or another command, on a terminal for the length of a `with` block."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*command, *map(str, words)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env=environment(**{"XDG_CONFIG_HOME": str(folder / ".config"), **variables}),
        start_new_session=True,
    ) as process:
        os.close(theirs)
        try:
            yield Terminal(ours, process)
        finally:
            if process.poll() is None:
                process.kill()
            os.close(ours)
