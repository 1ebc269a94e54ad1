"""Ids of exchanges: they grow over restarts, whatever the clock does."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from websockets.asyncio.client import connect

from chat_service.app import open_chat
from chat_service.ids import AHEAD_MS, ExchangeIds
from chat_service.settings import ChatSettings
from frameproto import Request, RequestKind, encode_request
from servicekit.runner import Address, serve
from servicekit.uuid7 import millisecond
from tests.chat.relay_parts import History

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
MOMENTS = st.timedeltas(timedelta(days=-1), timedelta(days=1))


def made(path: Path, *moments: datetime) -> list[UUID]:
    """Return the ids that one process makes."""
    clock = NOON
    ids = ExchangeIds(path, lambda: clock)

    def make(moment: datetime) -> UUID:
        nonlocal clock
        clock = moment
        return ids.make(moment)

    try:
        return [make(moment) for moment in moments]
    finally:
        ids.close()


@given(st.lists(st.lists(MOMENTS, max_size=4), max_size=6))
def test_each_id_is_greater_than_all_before_it_over_any_restarts(processes: list[list[timedelta]]) -> None:
    path = Path(f"/tmp/ids-{os.getpid()}-{os.urandom(8).hex()}")
    try:
        ids = [one for moments in processes for one in made(path, *(NOON + moment for moment in moments))]
        assert ids == sorted(set(ids))
    finally:
        path.unlink(missing_ok=True)


def test_they_follow_the_clock_again_as_soon_as_it_has_caught_up(tmp_path: Path) -> None:
    made(tmp_path / "ids", NOON)
    (soon,) = made(tmp_path / "ids", NOON + timedelta(milliseconds=10))
    assert millisecond(soon) == int(NOON.timestamp() * 1000) + AHEAD_MS, "no further ahead than this"
    later = NOON + timedelta(milliseconds=2 * AHEAD_MS + 1)
    (caught_up,) = made(tmp_path / "ids", later)
    assert millisecond(caught_up) == int(later.timestamp() * 1000)


def test_the_file_is_not_written_for_each_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written, pwrite = [], os.pwrite

    def counting(*arguments: object) -> int:
        written.append(arguments)
        return pwrite(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "pwrite", counting)
    made(tmp_path / "ids", *(NOON + timedelta(milliseconds=ms) for ms in range(5 * AHEAD_MS)))
    assert len(written) == 5


def test_a_clock_that_is_behind_is_told_once(tmp_path: Path) -> None:
    made(tmp_path / "ids", NOON)
    with capture_logs() as logs:
        made(tmp_path / "ids", *[NOON - timedelta(hours=1)] * 3)
    assert [(entry["event"], entry["seconds"]) for entry in logs] == [("ids.clock_behind", 3601.0)]


def test_a_message_that_waited_is_no_sign_of_a_clock_that_is_behind(tmp_path: Path) -> None:
    ids = ExchangeIds(tmp_path / "ids", lambda: NOON)
    with capture_logs() as logs:
        first, second = ids.make(NOON), ids.make(NOON - timedelta(seconds=30))
    ids.close()
    assert first < second
    assert logs == []


@pytest.mark.parametrize("damaged", ["nonsense", "9" * 16, "17803", "0" * 17, "\0" * 16])
def test_a_damaged_file_is_told_and_ids_follow_the_clock(tmp_path: Path, damaged: str) -> None:
    (tmp_path / "ids").write_text(damaged)
    with capture_logs() as logs:
        (one,) = made(tmp_path / "ids", NOON)
    assert [entry["event"] for entry in logs] == ["ids.unreadable"]
    assert millisecond(one) == int(NOON.timestamp() * 1000)
    assert made(tmp_path / "ids", NOON - timedelta(hours=1)) > [one]


async def test_a_pod_that_starts_again_with_an_earlier_clock_goes_on_with_later_ids(tmp_path: Path) -> None:
    history = History()
    for moment in (NOON, NOON - timedelta(days=30), NOON - timedelta(days=400)):
        async with history.open() as url:
            settings: dict[str, Any] = {"port": 0, "metrics_port": 0, "data_dir": tmp_path, "history_url": url}
            listening: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
            stop = asyncio.Event()
            async with open_chat(ChatSettings(**settings, media_processes=1), now=lambda: moment) as chat:  # noqa: B023 - it ends before the next begins
                ready = lambda at: listening.set_result(at[0])  # noqa: B023, E731
                running = asyncio.create_task(serve(chat.listeners(), chat.drain, 20, ready=ready, stop=stop))
                async with connect(f"ws://{await listening}/connect?clientId=anna&timeZone=UTC") as client:
                    for text in (b"one", b"two"):
                        await client.send(encode_request(Request(RequestKind.TEXT, text)))
                        await client.recv()
                stop.set()
                assert await running == 0
    ids = history.ids
    assert len(ids) == 6
    assert ids == sorted(ids)
