"""The position in the queue: a plain GET of the address returns it while the handshake waits."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from chat_client.address import connect_address
from chat_client.changes import Waiting
from chat_client.credentials import authorization
from chat_client.errors import ClientError, Refused, Unreachable
from chat_client.link import ConnectTarget
from chat_client.proxy import through

UPGRADE_REQUIRED: Final = 426
FIRST_LOOK_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 2.0
LOOKING_SECONDS: Final = 10.0
LARGEST_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Preflight:
    """The expected result of a handshake.

    Attributes:
        admitted: it would be let in.
        refusal: why it would not, or would have to wait; None: it would be let in.
    """

    admitted: bool
    refusal: Refused | None


async def preflight(
    address: str,
    *,
    client_id: str,
    time_zone: str,
    session_id: UUID | None = None,
    token: str | None = None,
) -> Preflight:
    """Ask a chat service for the expected result of a handshake. This takes no permit.

    Raises:
        Unreachable: there is no server, or it does not answer.
    """
    target = ConnectTarget(url=connect_address(address), client_id=client_id, time_zone=time_zone)
    return await look(target.url_for(session_id), token)


async def look(url: str, token: str | None) -> Preflight:
    """Ask the address of a handshake, with all of its parameters.

    Raises:
        Unreachable: there is no server, or it does not answer.
    """
    import aiohttp  # noqa: PLC0415 - slow to load, and most clients never wait

    timeout = aiohttp.ClientTimeout(total=LOOKING_SECONDS)
    where = url.partition("?")[0]
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as http,
            http.get("http" + url.removeprefix("ws"), headers=authorization(token)) as answer,
        ):
            body = await answer.content.read(LARGEST_BYTES)
            if answer.status == UPGRADE_REQUIRED:
                return Preflight(admitted=True, refusal=None)
            retry_after = answer.headers.get("Retry-After")
            return Preflight(admitted=False, refusal=Refused.from_problem(answer.status, body, retry_after))
    except TimeoutError as exc:
        raise Unreachable(f"no answer from {where} within {LOOKING_SECONDS:g} s{through(where)}") from exc
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        raise Unreachable(f"{where} cannot be reached: {exc}{through(where)}") from exc


async def watch_place(
    url: str, token: str | None, waited: Callable[[], float], tell: Callable[[Waiting], None]
) -> None:
    """Report the position in the queue repeatedly during a handshake, until cancelled.

    Args:
        url: of the handshake, with its `waitId`.
        token: shown to the server.
        waited: returns for how many seconds this client has been waiting.
        tell: called with each position.
    """
    await asyncio.sleep(FIRST_LOOK_SECONDS)
    while True:
        try:
            refusal = (await look(url, token)).refusal
        except ClientError:
            refusal = None  # the handshake reports errors
        if refusal is not None and refusal.place is not None:  # else it is the handshake that takes its time
            tell(Waiting(refusal.place, waited(), refusal.learning_seconds))
        await asyncio.sleep(LOOK_SECONDS)
