"""A client that waited in vain comes back to its place in the queue, at another pod; and asks about it meanwhile."""

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from devtools.stack import Stack, StoreAddresses, open_stack
from devtools.watching import eventually
from frameproto.connection import SUBPROTOCOL_V1, SUBPROTOCOL_V2

WAIT_SECONDS = 4
ATTEMPTS = 20


class Guest:
    """A client with a place in the queue."""

    def __init__(self, stack: Stack, name: str, subprotocol: str) -> None:
        self._stack = stack
        self.name = name
        self.wait_id = str(uuid4())
        self._subprotocol = Subprotocol(subprotocol)

    def _url(self, scheme: str, pod: int, **other: str) -> str:
        query = urlencode({"clientId": self.name, "timeZone": "UTC", "waitId": self.wait_id, **other})
        return f"{scheme}://127.0.0.1:{self._stack.chat[pod].ports['chat']}/connect?{query}"

    async def connect(self, pod: int) -> ClientConnection:
        """Make one attempt at a pod."""
        url = self._url("ws", pod)
        return await connect(url, compression=None, open_timeout=60, subprotocols=[self._subprotocol])

    async def denial(self, pod: int) -> dict[str, Any]:
        """Wait in vain; return what is said."""
        with pytest.raises(InvalidStatus) as denied:
            await self.connect(pod)
        body: dict[str, Any] = json.loads(denied.value.response.body or b"")
        return body

    async def come_in(self, pod: int) -> ClientConnection:
        """Try again as long as the queue is told, or that a new store still learns, at each pod in turn."""
        for attempt in range(ATTEMPTS):
            try:
                return await self.connect((pod + attempt) % len(self._stack.chat))
            except InvalidStatus as exc:
                if json.loads(exc.response.body or b"")["code"] not in {"cluster_full", "limits_learning"}:
                    raise
        raise AssertionError(f"{self.name} was never let in")

    async def place(self, pod: int, **other: str) -> dict[str, Any]:
        """Ask where the client stands."""
        async with aiohttp.ClientSession() as http, http.get(self._url("http", pod, **other)) as response:
            body: dict[str, Any] = await response.json(content_type=None)
        return body

    async def stands_at(self, place: int) -> None:
        """Wait until every pod says that this is the place."""

        async def everywhere() -> bool:
            told = [await self.place(pod) for pod in range(len(self._stack.chat))]
            return all("waitedSeconds" in each and each.get("place") == place for each in told)

        await eventually(everywhere, f"{self.name} to stand at place {place}")


async def test_a_place_is_kept_from_pod_to_pod_and_is_told_to_its_client_only(
    fresh_stores: StoreAddresses, tmp_path: Path
) -> None:
    chat = {"CHAT_MAX_CONNECTIONS": 1, "CHAT_CONNECT_WAIT_SECONDS": WAIT_SECONDS}
    with open_stack(tmp_path, fresh_stores, name="waiting", chat=chat) as stack:
        assert len(stack.chat) == 2
        holder = await Guest(stack, "holder", SUBPROTOCOL_V1).come_in(0)
        anna, ben = Guest(stack, "anna", SUBPROTOCOL_V1), Guest(stack, "ben", SUBPROTOCOL_V2)
        told = await anna.denial(0)
        assert (told["code"], told["place"]) == ("cluster_full", 1)
        assert told["keptSeconds"] > 0
        bens = asyncio.create_task(ben.come_in(0))
        await ben.stands_at(1)
        annas = asyncio.create_task(anna.come_in(1))
        await ben.stands_at(2)
        await anna.stands_at(1)
        for stranger in ({"clientId": "mallory"}, {"waitId": str(uuid4())}):
            assert "waitedSeconds" not in await anna.place(0, **stranger)
        await holder.close()
        async with await annas as conversation:
            assert conversation.subprotocol == SUBPROTOCOL_V1
            await ben.stands_at(1)
            assert not bens.done()
        async with await bens as conversation:
            assert conversation.subprotocol == SUBPROTOCOL_V2
