"""The smallest service there can be, for tests that send signals: `python -m tests.servicekit.tiny_service`.

Behaviour is chosen by words: `slow` takes until it is told to finish by a file, and so on.
"""

import asyncio
import sys
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from servicekit import logs
from servicekit.health import Health
from servicekit.runner import Listener, run, serve


async def main(folder: Path, port: int, words: set[str]) -> int:
    health = Health("tiny")
    go_on = folder / "go-on"

    async def told_to_go_on() -> None:
        while not go_on.exists():  # noqa: ASYNC110 - another process makes the file
            await asyncio.sleep(0.01)

    async def slow(_: Request) -> Response:
        (folder / "asked").touch()
        await told_to_go_on()
        return PlainTextResponse("done")

    async def drain() -> bool:
        health.start_draining()
        if "slow" in words:
            await told_to_go_on()
        if "broken" in words:
            raise RuntimeError("the drain is broken")
        if "stuck" in words:
            await asyncio.Event().wait()
        return "leftover" not in words

    app = Starlette(routes=[Route("/slow", slow), *health.routes()])
    listeners = [
        Listener(app=app, host="127.0.0.1", port=port, name="tea", hint="set TEA_PORT"),
        Listener(app=app, host="127.0.0.1", port=0, name="tea-metrics"),
    ]
    try:
        return await serve(listeners, drain, 0.3 if "stuck" in words else 60, close_seconds=60)
    finally:
        (folder / "closed").touch()
        if "clinging" in words:
            await asyncio.Event().wait()


if __name__ == "__main__":
    logs.configure()
    sys.exit(run(main(Path(sys.argv[1]), int(sys.argv[2]), set(sys.argv[3:]))))
