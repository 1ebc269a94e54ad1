"""The messages that a pod works on: one that is sent again waits for its earlier attempt."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

from chat_service.in_flight import InFlightMessages
from chat_service.pending import PendingMessage, Stage

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def message(id_: int | None, stage: Stage = Stage.PREPARING) -> PendingMessage:
    made = PendingMessage(b"\x00a", NOW)
    made.message_id = None if id_ is None else UUID(int=id_)
    made.stage = stage
    return made


async def waits(in_flight: InFlightMessages, again: PendingMessage) -> "asyncio.Task[bool]":
    waiting = asyncio.create_task(in_flight.wait_for_earlier(again))
    await asyncio.sleep(0)
    return waiting


async def test_a_message_waits_for_the_end_of_its_earlier_attempt() -> None:
    in_flight, first, again = InFlightMessages(), message(7), message(7)
    in_flight.begin("anna", first)
    in_flight.begin("anna", again)
    waiting = await waits(in_flight, again)
    assert not waiting.done()
    in_flight.end(first)
    assert await waiting
    in_flight.end(first)
    in_flight.end(again)
    assert len(in_flight) == 0


async def test_the_third_attempt_waits_for_the_second() -> None:
    in_flight, attempts = InFlightMessages(), [message(7) for _ in range(3)]
    for attempt in attempts:
        in_flight.begin("anna", attempt)
    last = await waits(in_flight, attempts[2])
    in_flight.end(attempts[0])
    await asyncio.sleep(0)
    assert not last.done()
    in_flight.end(attempts[1])
    assert await last


async def test_there_is_nothing_to_wait_for_without_an_earlier_attempt_of_the_same_client() -> None:
    in_flight = InFlightMessages()
    in_flight.begin("anna", message(7))
    in_flight.begin("anna", message(7, Stage.KEPT))
    for client_id, other in (("ben", message(7)), ("anna", message(8)), ("anna", message(None)), ("anna", message(7))):
        in_flight.begin(client_id, other)
        assert not await in_flight.wait_for_earlier(other)


async def test_who_stops_waiting_ends_no_attempt() -> None:
    in_flight, first, again = InFlightMessages(), message(7), message(7)
    in_flight.begin("anna", first)
    in_flight.begin("anna", again)
    (await waits(in_flight, again)).cancel()
    await asyncio.sleep(0)
    in_flight.end(first)
    assert len(in_flight) == 1
