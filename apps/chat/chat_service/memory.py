"""How much memory a pod needs at worst, as docs/operations.md tells it and the chart sets it; and what keeps it so."""

import asyncio
import gc
from typing import TYPE_CHECKING, Final

from chat_service.media import pcm
from chat_service.media.workers import CACHE_BYTES, MEMORY_BYTES

if TYPE_CHECKING:
    from chat_service.settings import ChatSettings

COLLECT_SECONDS: Final = 10.0  # a full collection stops a pod of thousands of connections for a tenth of a second
SERVICE_BYTES: Final = 200 * 1024 * 1024  # code, connections without messages, and what the allocator keeps


def worst_service_bytes(settings: "ChatSettings", *, connections: int) -> int:
    """Return what the process of a pod takes at most with so many connections.

    Messages on their way are charged to the pod's bytes. One frame of each connection is not: it is still arriving, or
    it waits to be charged. Sound whose speech is recognized is not charged, but its recordings are counted.
    """
    kept = max(0, settings.voice_cache - CACHE_BYTES)  # the usual cache is among SERVICE_BYTES
    if settings.speech != "off":
        seconds = min(settings.media_max_seconds, pcm.MAX_SECONDS)
        kept += settings.speech_max_recordings * int(seconds * pcm.BYTES_PER_SECOND)
    return SERVICE_BYTES + settings.max_pod_bytes + connections * settings.max_frame_bytes + kept


def worst_pod_bytes(settings: "ChatSettings", *, connections: int) -> int:
    """Return what a pod takes at most, its media workers included."""
    workers = settings.media_processes * MEMORY_BYTES
    if settings.speech == "embedded":
        workers += settings.speech_processes * settings.speech_memory
    return worst_service_bytes(settings, connections=connections) + workers


class GarbageTimer:
    """Has the garbage collector look once in a while, when there is something for it.

    By itself it looks after so many new objects that a few messages of 16 MiB each could lie there for hours.
    """

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Let the collector look soon; however often this is called, it looks once."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(COLLECT_SECONDS, self._collect)

    def _collect(self) -> None:
        self._timer = None
        gc.collect()
