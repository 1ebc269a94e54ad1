"""Liveness and readiness of a process: `/healthz` and `/readyz`.

Alive means that the event loop runs. Nothing outside the process affects it, otherwise a broken store would restart
every pod. Ready means that each registered check passes and that the process is not draining.
"""

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from servicekit.clock import Now, utc_now
from servicekit.logs import get_logger

DEFAULT_CHECK_SECONDS = 1.0

PROBE_PATHS = frozenset({"/healthz", "/readyz"})

_NO_STORE = {"cache-control": "no-store"}
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one readiness check.

    Attributes:
        ok: whether it passed.
        reason: explains the result, also of a check that passed. It holds no text of a store.
        left_seconds: for how much longer the reason holds, if known. It is shown, and its changes are not logged.
    """

    ok: bool
    reason: str = ""
    left_seconds: float = field(default=0.0, compare=False)

    def told(self) -> str:
        """Return the text for the probe."""
        left = f", {math.ceil(self.left_seconds)} s left" if self.left_seconds > 0 else ""
        return f"{self.reason or 'ok'}{left}"


Check = Callable[[], "bool | CheckResult | Awaitable[bool]"]
"""Checks one thing that this process needs. An exception means that it is missing."""


class Health:
    """The state of one service in this process.

    Args:
        version: what `/healthz` calls the running version.
        now: the wall clock, for the uptime.
    """

    def __init__(self, version: str = "", *, now: Now = utc_now) -> None:
        self._version = version
        self._now = now
        self._started_at = now()
        self._checks: dict[str, tuple[Check, float]] = {}
        self._last: dict[str, CheckResult] = {}
        self._draining = False

    def register(self, name: str, check: Check, *, timeout_seconds: float = DEFAULT_CHECK_SECONDS) -> None:
        """Call `check` at each readiness probe. Without an answer within `timeout_seconds` it fails.

        Raises:
            ValueError: a check of this name is there already.
        """
        if name in self._checks:
            raise ValueError(f"there is a readiness check named {name} already")
        self._checks[name] = (check, timeout_seconds)

    @property
    def draining(self) -> bool:
        """Whether this process is shutting down."""
        return self._draining

    def start_draining(self) -> None:
        """Turn readiness off for good, so that the load balancer sends nothing new."""
        self._draining = True

    async def verdicts(self) -> dict[str, CheckResult]:
        """Run all checks concurrently, each with its own time-out."""
        names = list(self._checks)
        verdicts = dict(zip(names, await asyncio.gather(*map(self._ask, names)), strict=True))
        for name, verdict in verdicts.items():
            # Probes come every few seconds, so only changes are logged.
            if verdict != self._last.get(name, CheckResult(ok=True)):
                left = {"left_seconds": math.ceil(verdict.left_seconds)} if verdict.left_seconds > 0 else {}
                _log.warning("readiness check changed", check=name, ok=verdict.ok, reason=verdict.reason, **left)
        self._last = verdicts
        return verdicts

    def routes(self) -> list[BaseRoute]:
        """Return the routes `/healthz` and `/readyz`."""
        return [Route("/healthz", self._healthz), Route("/readyz", self._readyz)]

    async def _ask(self, name: str) -> CheckResult:
        check, timeout_seconds = self._checks[name]
        try:
            async with asyncio.timeout(timeout_seconds):
                answer = check()
                passed = await answer if inspect.isawaitable(answer) else answer
        except TimeoutError:
            return CheckResult(ok=False, reason=f"no answer within {timeout_seconds:g} s")
        except Exception as exc:  # noqa: BLE001 - the probe must be answered after any exception
            return CheckResult(ok=False, reason=type(exc).__name__)
        if isinstance(passed, CheckResult):
            return passed
        return CheckResult(ok=True) if passed else CheckResult(ok=False, reason="not yet")

    async def _healthz(self, _request: Request) -> JSONResponse:
        uptime = (self._now() - self._started_at).total_seconds()
        return JSONResponse(
            {"status": "alive", "version": self._version, "uptime_seconds": round(uptime, 3)}, headers=_NO_STORE
        )

    async def _readyz(self, _request: Request) -> JSONResponse:
        verdicts = await self.verdicts()
        ready = not self._draining and all(verdict.ok for verdict in verdicts.values())
        status = "draining" if self._draining else "ready" if ready else "not_ready"
        checks = {name: verdict.told() for name, verdict in verdicts.items()}
        return JSONResponse({"status": status, "checks": checks}, status_code=200 if ready else 503, headers=_NO_STORE)
