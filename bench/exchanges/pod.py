"""A chat pod that can be looked into: `python -m bench.exchanges.pod`, with the settings of the chat service.

`BENCH_CONTROL` names a Unix socket. Each connection to it starts a probe, which notes how late timers of the event loop
are; a line on it ends the probe, and is answered with the delays in microseconds, as JSON. With `BENCH_NO_MEDIA` set,
voice and video are taken to be in order without a look at them, and nothing is spoken.
"""

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import servicekit.early_stop  # noqa: F401 - signals are heard from here on
from bench.exchanges.cores import clock_us
from botkit import AudioInfo, VideoInfo
from chat_service.app import open_chat
from chat_service.settings import ChatSettings
from frameproto import Buffer
from servicekit import logs
from servicekit.runner import run, serve
from servicekit.settings import load

PROBE_SECONDS: Final = 0.01
MICROSECONDS: Final = 1_000_000
VOICE: Final = (Path(__file__).parents[2] / "samples" / "hello.mp3").read_bytes()


class NoMedia:
    """Stands in for the media workers, where it is not their work that is measured."""

    waiting = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return

    async def probe_audio(self, file: Buffer, *, client_id: str) -> AudioInfo:  # noqa: ARG002 - that is the point
        """Take a voice note to be in order."""
        return AudioInfo(seconds=1.0)

    async def probe_video(self, file: Buffer, *, client_id: str) -> VideoInfo:  # noqa: ARG002 - as above
        """Take a video to be in order."""
        return VideoInfo(seconds=1.0, width=320, height=240, picture=VOICE, has_sound=False)

    async def synthesize(self, text: str, *, client_id: str, language: str = "") -> bytes:  # noqa: ARG002 - as above
        """Say the same, whatever the text."""
        return VOICE


async def _probe(lags_us: list[float], first: asyncio.Event) -> None:
    while True:
        began = clock_us()
        await asyncio.sleep(PROBE_SECONDS)
        lags_us.append(max(0.0, clock_us() - began - PROBE_SECONDS * MICROSECONDS))
        first.set()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    lags_us: list[float] = []
    first = asyncio.Event()
    probe = asyncio.create_task(_probe(lags_us, first))
    await reader.readline()
    await first.wait()
    probe.cancel()
    writer.write(json.dumps(lags_us).encode() + b"\n")
    await writer.drain()
    writer.close()


async def main(settings: ChatSettings) -> int:
    """Serve until told to stop; return the exit code."""
    async with contextlib.AsyncExitStack() as stack:
        media = NoMedia() if os.environ.get("BENCH_NO_MEDIA") else None
        chat = await stack.enter_async_context(open_chat(settings, media=media))
        control = await asyncio.start_unix_server(_answer, os.environ["BENCH_CONTROL"])
        stack.callback(control.close)
        return await serve(chat.listeners(), chat.drain, settings.drain_seconds)


if __name__ == "__main__":
    loaded = load(ChatSettings, prog="python -m bench.exchanges.pod", description="A chat pod that can be looked into.")
    logs.configure(loaded.log_level, loaded.log_format)
    sys.exit(run(main(loaded)))
