"""Cluster-wide limits hold over two chat pods, and whoever waits is let in by ticket."""

import asyncio
from pathlib import Path

from devtools.stack import StoreAddresses, open_stack
from devtools.watching import eventually, metric
from frameproto import RequestKind
from tests.e2e.talking import ask, visit

CLIENTS = 60
PLACES = 50


async def test_sixty_clients_share_fifty_places_in_the_order_of_their_tickets(
    fresh_stores: StoreAddresses, tmp_path: Path
) -> None:
    chat = {"CHAT_CONNECT_WAIT_SECONDS": 60}
    with open_stack(tmp_path, fresh_stores, name="limits", chat=chat) as stack:
        ports = [pod.ports["chat-metrics"] for pod in stack.chat]
        open_now = 0
        most_open = 0
        entered: list[str] = []
        leave = [asyncio.Event() for _ in range(CLIENTS)]

        async def come(number: int) -> None:
            nonlocal open_now, most_open
            async with visit(stack, f"guest-{number}") as guest:
                open_now += 1
                most_open = max(most_open, open_now)
                entered.append(f"guest-{number}")
                await ask(guest, RequestKind.TEXT, b"hello")
                await leave[number].wait()
                open_now -= 1

        async def entries(count: int) -> None:
            await eventually(lambda: len(entered) == count, f"{count} guests to have entered")

        async def figure(name: str, value: int) -> None:
            async def reached() -> bool:
                return await metric(ports[0], name) == value

            await eventually(reached, f"{name} to be {value}")

        guests = []
        for number in range(CLIENTS):
            guests.append(asyncio.create_task(come(number)))
            if number < PLACES:
                await entries(number + 1)
            else:
                await figure('chatbot_permits_waiting{pool="connections"}', number - PLACES + 1)
        assert open_now == PLACES
        await figure('chatbot_permits_held{pool="connections"}', PLACES)
        for number in range(CLIENTS - PLACES):
            leave[number].set()
            await entries(PLACES + number + 1)
        assert entered == [f"guest-{number}" for number in range(CLIENTS)]
        for event in leave:
            event.set()
        await asyncio.gather(*guests)
        assert most_open == PLACES
        await figure('chatbot_permits_high_water{pool="connections"}', PLACES)
        await figure("chatbot_permits_held", 0)
        tickets = [
            entry["ticket"] for pod in stack.chat for entry in pod.events() if entry.get("event") == "connection.open"
        ]
        assert sorted(tickets) == list(range(min(tickets), min(tickets) + CLIENTS))
        assert all(pod.count("connection.open") >= CLIENTS // 4 for pod in stack.chat)
