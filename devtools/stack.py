"""The whole system on one machine: pods as processes, a real balancer, real stores."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

from devtools.balancer import balancer
from devtools.processes import ServiceProcess, start
from devtools.swift import S3


@dataclass(frozen=True)
class StoreAddresses:
    """Where the real stores are."""

    redis_url: str
    mongodb_url: str
    s3: S3


@dataclass
class Stack:
    """A running system.

    Attributes:
        chat: the chat pods.
        history: the history pods.
        chat_settings: of each chat pod.
        history_settings: of all history pods.
        chat_ports: where clients connect: the balancer, or without one the pods themselves.
    """

    folder: Path
    chat: list[ServiceProcess]
    history: list[ServiceProcess]
    chat_settings: list[dict[str, object]]
    history_settings: dict[str, object]
    chat_ports: list[int]
    _chat_ports: "cycle[int]" = field(repr=False)
    _history_ports: "cycle[int]" = field(repr=False)

    @property
    def balanced(self) -> bool:
        """Whether a balancer stands before the pods."""
        return len(self.chat_ports) == 1

    def chat_url(self, client_id: str, **more: str) -> str:
        """Return where a client connects; successive calls spread over the pods when nothing else does."""
        query = "&".join(
            f"{name}={value}" for name, value in {"clientId": client_id, "timeZone": "UTC", **more}.items()
        )
        return f"ws://127.0.0.1:{next(self._chat_ports)}/connect?{query}"

    def history_url(self) -> str:
        """Return the address of the history service."""
        return f"http://127.0.0.1:{next(self._history_ports)}"

    def restart_chat(self, index: int) -> None:
        """Start a chat pod again that has ended, on its port and its data folder."""
        old = self.chat[index]
        settings = {**self.chat_settings[index], "CHAT_PORT": old.ports["chat"]}
        self.chat[index] = _again(old, settings)

    def restart_history(self, index: int) -> None:
        """Start a history pod again that has ended, on its port."""
        old = self.history[index]
        self.history[index] = _again(old, {**self.history_settings, "HISTORY_PORT": old.ports["history"]})


@contextmanager
def open_stack(
    folder: Path,
    stores: StoreAddresses,
    *,
    name: str,
    pods: int = 2,
    chat: Mapping[str, object] | None = None,
    history: Mapping[str, object] | None = None,
) -> Iterator[Stack]:
    """Run so many chat and history pods behind a balancer; the name keeps its data apart from other stacks'."""
    history_settings: dict[str, object] = {
        "HISTORY_PORT": 0,
        "HISTORY_METRICS_PORT": 0,
        "HISTORY_MONGODB_URL": stores.mongodb_url,
        "HISTORY_MONGODB_DATABASE": f"e2e_{name}",
        "HISTORY_S3_BUCKET": f"e2e-{name}",
        "HISTORY_S3_ENDPOINT_URL": stores.s3.endpoint_url,
        "HISTORY_S3_CREATE_BUCKET": "true",
        **stores.s3.environment,
        **(history or {}),
    }
    with ExitStack() as running:
        services: list[ServiceProcess] = []
        running.callback(_stop_all, services)
        services.extend(
            start("history_service", folder / f"history{index}.log", history_settings) for index in range(pods)
        )
        histories = list(services)
        history_ports = running.enter_context(
            balancer({"history": [pod.ports["history"] for pod in histories]}, _sub(folder, "history-balancer"))
        )["history"]
        chat_settings: list[dict[str, object]] = []
        for index in range(pods):
            chat_settings.append(
                {
                    "CHAT_PORT": 0,
                    "CHAT_METRICS_PORT": 0,
                    "CHAT_REDIS_URL": stores.redis_url,
                    "CHAT_HISTORY_URL": f"http://127.0.0.1:{history_ports[0]}",
                    "CHAT_DATA_DIR": folder / f"chat{index}",
                    "CHAT_LEASE_SECONDS": 6,  # with less, a busy machine would lose permits
                    **(chat or {}),
                }
            )
            services.append(start("chat_service", folder / f"chat{index}.log", chat_settings[-1]))
        chats = services[pods:]
        chat_ports = running.enter_context(
            balancer({"chat": [pod.ports["chat"] for pod in chats]}, _sub(folder, "chat-balancer"))
        )["chat"]
        stack = Stack(
            folder,
            chats,
            histories,
            chat_settings,
            history_settings,
            chat_ports,
            cycle(chat_ports),
            cycle(history_ports),
        )
        running.callback(lambda: _stop_all([*stack.history, *stack.chat]))
        yield stack


def _again(old: ServiceProcess, settings: Mapping[str, object]) -> ServiceProcess:
    assert old.process.poll() is not None
    return start(old.module, old.log.with_name(f"{old.log.stem}-again.log"), settings)


def _stop_all(services: list[ServiceProcess]) -> None:
    for service in reversed(services):
        if service.process.poll() is None:
            service.stop()


def _sub(folder: Path, name: str) -> Path:
    path = folder / name
    path.mkdir(exist_ok=True)
    return path
