"""Workers of a swarm, as processes that somebody else has started."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devtools.servers import ROOT

LOCUSTFILE = ROOT / "loadtest/locustfile.py"
STOP_SECONDS = 40


@contextmanager
def workers(count: int, shape: Path, port: int, folder: Path) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Start so many for the length of a `with` block; they wait for the master on that port."""
    line = [sys.executable, "-m", "locust", "-f", f"{LOCUSTFILE},{shape}", "--exit-code-on-error", "0"]
    line += ["--worker", "--master-host", "127.0.0.1", "--master-port", str(port)]
    with (folder / "workers.log").open("ab") as log:
        started = [subprocess.Popen(line, cwd=ROOT, stdout=log, stderr=log, process_group=0) for _ in range(count)]
    try:
        yield started
    finally:
        for worker in started:
            worker.terminate()
        for worker in started:
            worker.wait(STOP_SECONDS)
