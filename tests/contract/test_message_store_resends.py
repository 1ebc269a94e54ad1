"""What a client saw answered is what history has, through every order of breaks, resends, claims and deliveries.

Each world is one message of one client, sent until its answer arrives. Pods answer it as `docs/protocol-v2.md` says;
relays deliver what pods have kept, late, repeatedly and in any order.
"""

import random
from dataclasses import dataclass, field, replace
from uuid import UUID, uuid4

import pytest

from history_service.model import MessageContent, Session, StoredExchange, rank_of_answer, rank_of_claim
from history_service.stores.base import MessageStore
from servicekit.uuid7 import uuid7
from tests.contract.stores import NOON, begin, kept

PODS = 3
WORLDS = 25


@dataclass
class World:
    """A message on its way.

    Attributes:
        store: history.
        session: whose message it is.
        noise: decides what happens.
        outboxes: what each pod has kept; it stays there and may be delivered again.
        late: attempts over broken connections on which a pod still works.
        ticket: of the latest connection.
    """

    store: MessageStore
    session: Session
    noise: random.Random
    message_id: UUID = field(default_factory=uuid4)
    outboxes: list[list[StoredExchange]] = field(default_factory=lambda: [[] for _ in range(PODS)])
    late: list[tuple[int, int]] = field(default_factory=list)
    ticket: int = 0

    async def converse(self) -> str:
        """Send the message until an answer arrives; return that."""
        while True:
            self.ticket += 1
            pod = self.noise.randrange(PODS)
            await self.meanwhile()
            if self.noise.random() < 0.3:  # the connection breaks while the pod works
                self.late.append((pod, self.ticket))
                continue
            text = await self.answer(pod, self.ticket)
            await self.meanwhile()
            if self.noise.random() < 0.4:
                return text

    async def answer(self, pod: int, ticket: int) -> str:
        """Answer as a pod does; the claim may be made and its outcome be lost."""
        if self.noise.random() < 0.6:
            text = await self.claim(ticket)
            if text is not None and self.noise.random() < 0.7:
                return text
        if self.outboxes[pod] and self.noise.random() < 0.5:
            return self.keep(pod, ticket, text_of(self.noise.choice(self.outboxes[pod])))
        return self.keep(pod, ticket, f"answer {ticket}")

    def keep(self, pod: int, ticket: int, text: str) -> str:
        # Clocks of pods differ, so ids say nothing about the order of attempts.
        id_ = uuid7(NOON.replace(minute=self.noise.randrange(60)))
        one = kept(self.session.id, text, message_id=self.message_id, attempt=ticket)
        self.outboxes[pod].append(replace(one, id=id_, rank=rank_of_answer(ticket)))
        return text

    async def claim(self, ticket: int) -> str | None:
        for _ in range(10):
            found = await self.store.exchanges.find_answer(self.session.client_id, self.message_id)
            if found is None:
                return None
            if await self.store.exchanges.claim(found, rank=rank_of_claim(ticket)):
                return text_of(found)
        raise AssertionError("it is replaced again and again")

    async def meanwhile(self) -> None:
        """Let relays deliver, and pods end what they still work on."""
        for _ in range(self.noise.randrange(3)):
            records = [record for outbox in self.outboxes for record in outbox]
            if records:
                await self.store.exchanges.add(self.noise.choices(records, k=self.noise.randint(1, 3)))
        if self.late and self.noise.random() < 0.5:
            pod, ticket = self.late.pop(self.noise.randrange(len(self.late)))
            await self.answer(pod, ticket)

    async def settle(self) -> None:
        """Let all pods come to an end, and deliver all."""
        while self.late:
            pod, ticket = self.late.pop()
            await self.answer(pod, ticket)
        records = [record for outbox in self.outboxes for record in outbox]
        delivered = records + self.noise.choices(records, k=len(records)) if records else []
        self.noise.shuffle(delivered)
        for record in delivered:
            await self.store.exchanges.add([record])


def text_of(exchange: StoredExchange) -> str:
    assert isinstance(exchange.reply, MessageContent)
    assert exchange.reply.text is not None
    return exchange.reply.text


@pytest.mark.parametrize("seed", range(4))
async def test_history_has_each_message_once_with_the_answer_that_the_client_saw(
    store: MessageStore, seed: int
) -> None:
    session = await begin(store)
    worlds = [World(store, session, random.Random(f"{seed}.{number}")) for number in range(WORLDS)]
    seen = [await world.converse() for world in worlds]
    for world in worlds:
        await world.settle()
    stored = await store.exchanges.page(session, start=None, backward=False, limit=2 * WORLDS)
    assert {exchange.message_id: text_of(exchange) for exchange in stored} == {
        world.message_id: text for world, text in zip(worlds, seen, strict=True)
    }
    assert len(stored) == WORLDS
    assert max(world.ticket for world in worlds) > 3  # messages were sent again and again
