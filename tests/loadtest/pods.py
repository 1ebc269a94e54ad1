"""Systems for short runs: one chat pod with few places, one history pod, tokens asked for."""

from datetime import timedelta

from redis.asyncio import Redis

from devtools.processes import ServiceProcess
from loadtest.criteria import RunLimits
from loadtest.monitor import POOLS
from loadtest.target import Target
from permits.redis import PoolOperator
from servicekit.tokens import mint

SECRET = "a secret of thirty-two bytes and more"
AUTH = {pod: {f"{pod}_AUTH": "jwt", f"{pod}_TOKEN_SECRETS": SECRET} for pod in ("CHAT", "HISTORY")}
LIMITS = RunLimits(connections=4, messages=10, window=6, connect_wait_seconds=6)
HISTORY_SETTINGS = {"HISTORY_PORT": 0, "HISTORY_METRICS_PORT": 0, **AUTH["HISTORY"]}


def chat_settings(store: str, history: ServiceProcess) -> dict[str, object]:
    """Return what a chat pod is told."""
    return {
        "CHAT_PORT": 0,
        "CHAT_METRICS_PORT": 0,
        "CHAT_REDIS_URL": store,
        "CHAT_HISTORY_URL": f"http://127.0.0.1:{history.ports['history']}",
        "CHAT_MAX_CONNECTIONS": LIMITS.connections,
        "CHAT_MAX_MESSAGES": LIMITS.messages,
        "CHAT_WINDOW": LIMITS.window,
        "CHAT_CONNECT_WAIT_SECONDS": LIMITS.connect_wait_seconds,
        "CHAT_LEASE_SECONDS": LIMITS.lease_seconds,
        "CHAT_BOT_TYPING_SECONDS": 0.5,
        "CHAT_MEDIA_PROCESSES": 1,
        "CHAT_HISTORY_TOKEN": mint(
            SECRET, subject="chat", audience="chatbot", lifetime=timedelta(hours=1), scope="ingest"
        ),
        **AUTH["CHAT"],
    }


def target(store: str, chat: ServiceProcess, history: ServiceProcess) -> Target:
    """Return a system of one pod of each."""
    return Target(
        chat=(f"ws://127.0.0.1:{chat.ports['chat']}",),
        history=f"http://127.0.0.1:{history.ports['history']}",
        redis_url=store,
        metrics={"chat-0": f"http://127.0.0.1:{chat.ports['chat-metrics']}/metrics"},
        pids={"chat-0": chat.process.pid},
        limits=LIMITS,
    )


async def vouch_for(store: str) -> None:
    """Let the pools of a store that has just begun grant at once: nobody holds anything that it may have forgotten."""
    async with Redis.from_url(store) as redis:
        for pool in POOLS:
            await PoolOperator(pool, redis).trust()
