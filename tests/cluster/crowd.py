"""Clients that talk without a pause, come again when they are sent away, and remember what they were answered."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

from chat_client import (
    Change,
    ConnectionLost,
    Ended,
    History,
    Idle,
    Lost,
    MessageFailed,
    Refused,
    Timing,
    Unanswered,
    Unreachable,
    connect,
)
from devtools.watching import eventually

AGAIN_SECONDS = 0.2
DELIVERY_SECONDS = 60.0
PATIENCE_SECONDS = 120.0


@dataclass
class Crowd:
    """What a number of clients went through.

    Attributes:
        token: makes the token of a client.
        answered: by client, the texts that were answered; each text is sent once only.
        unanswered: texts that were on their way, or about to be sent, when a connection ended.
        closes: connections that the server ended, by close code.
        refused: handshakes that were turned away, by problem code.
        unreachable: handshakes that got no answer from the service.
        errors: error frames, by code.
        leave: set when everybody is to finish.
        mark: stands in each text, since history may know the texts of another crowd with the same client ids.
    """

    address: str
    name: str
    token: Callable[[str], str]
    pause_seconds: float = 0.05
    answered: dict[str, list[str]] = field(default_factory=dict)
    unanswered: list[str] = field(default_factory=list)
    closes: Counter[int] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    unreachable: list[str] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    leave: asyncio.Event = field(default_factory=asyncio.Event)
    mark: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def total(self) -> int:
        """How many exchanges were answered so far."""
        return sum(map(len, self.answered.values()))

    async def until(self, total: int) -> None:
        """Wait until so many exchanges were answered."""
        await eventually(lambda: self.total >= total, f"{total} answers", PATIENCE_SECONDS)

    async def talk(self, client_id: str) -> None:
        """Be one client until everybody leaves."""
        answered = self.answered.setdefault(client_id, [])
        session_id: UUID | None = None
        said = 0
        while not self.leave.is_set():
            try:
                async with connect(
                    self.address,
                    client_id=client_id,
                    time_zone="UTC",
                    session_id=session_id,
                    token=self.token(client_id),
                    patience_seconds=0,
                    timing=Timing(open_seconds=30),
                    on_change=self._note,
                ) as chat:
                    session_id = chat.session_id
                    while not self.leave.is_set():
                        said += 1
                        text = f"say {client_id} {said} {self.mark}"
                        self.unanswered.append(text)
                        try:
                            await chat.ask(text)
                            answered.append(text)
                        except MessageFailed as exc:
                            self.errors[exc.code] += 1
                        self.unanswered.remove(text)
                        await asyncio.sleep(self.pause_seconds)
            except Unanswered as exc:
                if not isinstance(exc.why, ConnectionLost):
                    await asyncio.sleep(AGAIN_SECONDS)
            except (Refused, Unreachable):
                await asyncio.sleep(AGAIN_SECONDS)

    def _note(self, change: Change) -> None:
        match change:
            case Lost(ConnectionLost(code=code)):
                self.closes[code] += 1
            case Idle(Refused() as why) | Ended(Refused() as why):
                self.refused[why.code or str(why.status)] += 1
            case Idle(Unreachable() as trouble) | Ended(Unreachable() as trouble):
                self.unreachable.append(str(trouble))

    async def kept(self, history_address: str) -> Counter[str]:
        """Return how often history has each text that these clients sent."""
        texts: Counter[str] = Counter()
        for client_id in self.answered:
            async with History(history_address, token=self.token(client_id)) as history:
                async for session in history.sessions(client_id):
                    async for message in history.messages(session.id):
                        texts[message.text or ""] += message.direction == "request"
        return texts

    async def lost(self, history_address: str) -> set[str]:
        """Return what was answered, and is not in history exactly once, after waiting for deliveries under way."""
        wanted = {text for texts in self.answered.values() for text in texts}
        deadline = asyncio.get_running_loop().time() + DELIVERY_SECONDS
        while True:
            kept = await self.kept(history_address)
            wrong = {text for text in wanted if kept[text] != 1}
            if not wrong or asyncio.get_running_loop().time() > deadline:
                return wrong
            await asyncio.sleep(1)

    def summary(self) -> str:
        """Return one line of figures."""
        return (
            f"{self.total} answered, {len(self.unanswered)} unanswered, closes {dict(self.closes)}, "
            f"refused {dict(self.refused)}, unreachable {len(self.unreachable)}, errors {dict(self.errors)}"
        )


@asynccontextmanager
async def crowd(address: str, name: str, clients: int, token: Callable[[str], str]) -> AsyncIterator[Crowd]:
    """Let so many clients talk for the length of an `async with` block; at its end each finishes its last sentence."""
    talking = Crowd(address, name, token)
    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(talking.talk(f"{name}-{number}"))
        try:
            yield talking
        finally:
            talking.leave.set()
