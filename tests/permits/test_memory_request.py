"""A request to the pool of one process leaves nothing on the event loop once it is over."""

import asyncio
import gc
import weakref

import pytest

from permits import PermitRequest
from permits.memory import MemoryPool
from tests.permits.parts import opened


@pytest.mark.looptime
@pytest.mark.parametrize("cancelled", [False, True], ids=["granted", "cancelled"])
async def test_one_that_has_waited_is_forgotten_at_once(cancelled: bool) -> None:
    pool = await opened(MemoryPool("pool", capacity=1))
    permit = await pool.acquire("holder", wait_seconds=0)
    settled = asyncio.Event()

    def tell(request: PermitRequest) -> None:
        request.result().release()
        settled.set()

    watched = weakref.ref(tell)
    request = pool.request("anna", wait_seconds=3600, settled=tell)
    if cancelled:
        request.cancel()
    else:
        permit.release()
        await settled.wait()
    del tell, request
    gc.collect()
    assert watched() is None
