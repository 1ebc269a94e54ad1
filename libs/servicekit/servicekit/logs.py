"""Logs: one JSON object a line (or coloured lines for people), from our own loggers and from libraries alike.

An operator finds in each line when (`timestamp`, UTC), how bad (`level`), who says so (`logger`), what (`event`)
and, where they are bound, `connection_id`, `client_id` and `exchange_id`. What people write to each other, and
tokens, never belong in a log: callers do not pass them, and `drop_sensitive` is the net below.
"""

import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from servicekit.terminal import wants_colour

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "json", "console"]

SENSITIVE_KEYS = frozenset(
    {
        "api_key",
        "authorization",
        "body",
        "cookie",
        "password",
        "sec-websocket-protocol",
        "secret",
        "set-cookie",
        "text",
        "token",
    }
)
"""Names under which nothing is ever written to a log (compared in lower case)."""

_FIRST_KEYS = ("timestamp", "level", "logger", "event")
_PLAIN = frozenset({str, int, float, bool, type(None)})
_encode = json.JSONEncoder(default=repr).encode  # `json.dumps` makes an encoder for each call that has a `default`


def configure(
    level: LogLevel = "info",
    format: LogFormat = "auto",  # noqa: A002 - the word for it; nothing here formats by the builtin
    stream: TextIO | None = None,
    quiet: Iterable[str] = (),
) -> None:
    """Send all logs of this process to one place. Called once, by the program; a second call replaces the first.

    Libraries that log through `logging` go the same way, never below `info`, because their debug lines hold
    what must not be logged.

    Args:
        level: what is less than this is dropped.
        format: `json` for machines, `console` for people; `auto` is `console` on a terminal and `json` elsewhere.
        stream: where to; standard error when absent, because standard output belongs to what was asked for.
        quiet: libraries of which only warnings are logged, by the names of their loggers: those whose `info` lines hold
            what must not be logged.
    """
    out: TextIO = stream if stream is not None else cast("TextIO", _StandardError())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        drop_sensitive,
    ]
    renderer: Processor
    if format == "json" or (format == "auto" and not out.isatty()):
        shared.append(structlog.processors.format_exc_info)
        renderer = _as_json
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=wants_colour(out), exception_formatter=structlog.dev.plain_traceback
        )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *names: _LineLogger(out, *names),
        # A cached logger would go on writing where an earlier configuration pointed.
        cache_logger_on_first_use=False,
    )
    _route_libraries(level, shared, renderer, out, quiet)
    sys.excepthook = _log_uncaught


def get_logger(name: str, **bound: object) -> FilteringBoundLogger:
    """Return a logger that writes `name` as `logger` in each of its lines, with `bound` beside it."""
    logger: FilteringBoundLogger = structlog.get_logger(name, **bound)
    return logger


def drop_sensitive(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Remove what must never be logged, whoever passed it (a structlog processor).

    Of bytes only their number is told, whatever their name: they are voices, pictures and frames.
    """
    return {
        key: value if type(value) in _PLAIN else _harmless(value)
        for key, value in event.items()
        if key.lower() not in SENSITIVE_KEYS
    }


def _harmless(value: object) -> object:
    match value:
        case bytes() | bytearray() | memoryview():
            return f"<{memoryview(value).nbytes} bytes>"
        case Mapping():
            named = {str(name): inner for name, inner in value.items()}
            return {name: _harmless(inner) for name, inner in named.items() if name.lower() not in SENSITIVE_KEYS}
        case list():
            return [_harmless(one) for one in value]
        case tuple():
            return tuple(_harmless(one) for one in value)
        case _:
            return value


def _as_json(_logger: object, _method: str, event: EventDict) -> str:
    """Render an event as one line, the familiar keys first (a structlog processor)."""
    return _encode({**{key: event[key] for key in _FIRST_KEYS if key in event}, **event})


def _route_libraries(
    level: LogLevel, shared: list[Processor], renderer: Processor, out: TextIO, quiet: Iterable[str]
) -> None:
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(max(logging.INFO, logging.getLevelNamesMapping()[level.upper()]))
    for name in quiet:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def _log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Make the end of a program by an exception a line like any other."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
    else:
        get_logger(__name__).error("the program failed", exc_info=(kind, error, traceback))


class _LineLogger:
    """The end of the line for our own loggers: writes what the renderer made, whatever its level."""

    def __init__(self, out: TextIO, name: str = "") -> None:
        self.name = name
        self._out = out

    def msg(self, line: str) -> None:
        # One write, so that lines of several threads do not mix. Nobody may be reading any more, and that must not harm
        # whoever has something to say.
        try:
            self._out.write(f"{line}\n")
            self._out.flush()
        except BrokenPipeError:
            _discard_standard_error()
        except (OSError, ValueError):
            pass

    debug = info = warning = error = critical = exception = log = msg


def _discard_standard_error() -> None:
    """Let nothing more fail because nobody reads: what is still buffered would make the process end with 120."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stderr.fileno())
        os.close(nowhere)


class _StandardError:
    """Standard error as it is at the moment of writing, so that whoever redirects it gets the logs too."""

    def write(self, line: str) -> int:
        return sys.stderr.write(line)

    def flush(self) -> None:
        sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr.isatty()
