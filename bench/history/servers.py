"""A history pod on real stores, for the length of a benchmark."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from devtools.mongod import run_mongod
from devtools.processes import ServiceProcess, start
from devtools.swift import S3, run_swift

BUCKET = "bench"


@dataclass(frozen=True, slots=True)
class Pod:
    """A running history service.

    Attributes:
        service: its process.
        database: where it keeps messages.
    """

    service: ServiceProcess
    database: str

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.service.ports['history']}"

    @property
    def status(self) -> Path:
        """What the system knows of its process."""
        return Path(f"/proc/{self.service.process.pid}")


class Servers:
    """Stores, and as many pods on them as are asked for."""

    def __init__(self, folder: Path, running: ExitStack) -> None:
        self._folder = folder
        self._running = running
        self.mongodb_url = running.enter_context(run_mongod(folder))
        self._s3: S3 | None = None
        self._pods = 0

    @property
    def s3(self) -> S3:
        """The media store; it takes a while to start, so it does so when somebody asks."""
        if self._s3 is None:
            self._s3 = self._running.enter_context(run_swift(self._folder))
        return self._s3

    def pod(self, database: str, *, media: bool = False) -> Pod:
        """Start a pod on a database of this name."""
        settings: dict[str, object] = {
            "HISTORY_PORT": 0,
            "HISTORY_METRICS_PORT": 0,
            "HISTORY_MONGODB_URL": self.mongodb_url,
            "HISTORY_MONGODB_DATABASE": database,
            "HISTORY_DATA_DIR": self._folder / database,
        }
        if media:
            settings |= {
                "HISTORY_S3_BUCKET": BUCKET,
                "HISTORY_S3_ENDPOINT_URL": self.s3.endpoint_url,
                "HISTORY_S3_CREATE_BUCKET": "true",
                **self.s3.environment,
            }
        self._pods += 1
        service = start("history_service", self._folder / f"{database}-{self._pods}.log", settings)
        self._running.callback(service.stop)
        return Pod(service, database)


@contextmanager
def run_servers(folder: Path) -> Iterator[Servers]:
    """Run the stores, and whatever pods are started on them."""
    with ExitStack() as running:
        yield Servers(folder, running)
