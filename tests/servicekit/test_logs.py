"""Logs: one JSON object a line, whoever logs, and never what people say to each other."""

import io
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import structlog

from chat_service.app import QUIET_LIBRARIES as CHAT_QUIET
from history_service.app import QUIET_LIBRARIES as HISTORY_QUIET
from servicekit import logs


class Log(io.StringIO):
    """What was logged."""

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]

    def only(self) -> dict[str, Any]:
        (event,) = self.events()
        return event


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """Give back what `configure` changed in this process."""
    root, hook = logging.getLogger(), sys.excepthook
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.excepthook = hook
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def log() -> Log:
    log = Log()
    logs.configure(stream=log)
    return log


def test_a_line_tells_when_how_bad_who_and_what_in_this_order(log: Log) -> None:
    logs.get_logger("tea", pot=1).warning("it is cold", cups=3)
    told = log.only()
    assert list(told)[:4] == ["timestamp", "level", "logger", "event"]
    assert datetime.fromisoformat(told.pop("timestamp")).utcoffset() is not None
    assert told == {"level": "warning", "logger": "tea", "event": "it is cold", "pot": 1, "cups": 3}


class Screen(Log):
    """A terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "is_json"), [(Log(), True), (Screen(), False)], ids=["file", "terminal"])
def test_people_at_a_terminal_get_lines_to_read_and_machines_get_json(stream: Log, is_json: bool) -> None:
    logs.configure(stream=stream)
    logs.get_logger("tea").warning("it is cold")
    assert "it is cold" in stream.getvalue()
    assert stream.getvalue().startswith("{") is is_json


def test_what_is_bound_stands_in_every_line_of_ours_and_of_libraries(log: Log) -> None:
    with structlog.contextvars.bound_contextvars(connection_id="c1", client_id="anna"):
        logs.get_logger("tea").info("poured")
        logging.getLogger("library").warning("hot")
    logs.get_logger("tea").info("drunk")
    assert [(one["event"], one.get("connection_id"), one.get("client_id")) for one in log.events()] == [
        ("poured", "c1", "anna"),
        ("hot", "c1", "anna"),
        ("drunk", None, None),
    ]


def test_lines_stay_lines_whatever_is_in_them(log: Log) -> None:
    logs.get_logger("tea").info('two\nlines "and" \x1b[31m\u2028', who="ännä\r\n")
    assert len(log.getvalue().splitlines()) == 1
    assert (log.only()["event"], log.only()["who"]) == ('two\nlines "and" \x1b[31m\u2028', "ännä\r\n")


@pytest.mark.parametrize("name", sorted(logs.SENSITIVE_KEYS))
def test_what_is_sensitive_is_dropped_however_deep_and_in_any_case(log: Log, name: str) -> None:
    fields: dict[str, Any] = {name: "hunter2", name.title(): "hunter2", "cups": 3}
    logs.get_logger("tea", **fields).error("spilt", request={"headers": fields}, requests=[fields, (fields,)])
    logging.getLogger("library").error("spilt", extra={"stack": fields})
    assert "hunter2" not in log.getvalue()
    assert log.events()[0]["request"] == {"headers": {"cups": 3}}


def test_callers_keep_what_they_passed(log: Log) -> None:
    headers = {"token": "hunter2"}
    logs.get_logger("tea").info("poured", headers=headers, all=[headers])
    assert headers == {"token": "hunter2"}


@pytest.mark.parametrize(
    "frame", [b"hello", bytearray(b"hello"), memoryview(b"hello")], ids=lambda one: type(one).__name__
)
def test_of_bytes_only_their_number_is_told(log: Log, frame: object) -> None:
    logs.get_logger("tea").info("received", frame=frame, parts=[frame])
    told = log.only()
    assert (told["frame"], told["parts"]) == ("<5 bytes>", ["<5 bytes>"])


def test_what_json_does_not_know_is_told_all_the_same(log: Log) -> None:
    logs.get_logger("tea").info("odd", kind=Log, numbers={1: {2}}, when=datetime(2026, 6, 1))  # noqa: DTZ001
    assert log.only()["event"] == "odd"


def test_an_exception_is_one_event_with_its_traceback_and_without_local_variables(log: Log) -> None:
    local_variable = "hunter2"
    try:
        raise ValueError(f"spilt {len(local_variable)}")
    except ValueError:
        logs.get_logger("tea").exception("failed")
        logging.getLogger("library").exception("failed")
    for told in log.events():
        assert (told["event"], told["level"]) == ("failed", "error")
        assert told["exception"].startswith("Traceback (most recent call last)")
        assert told["exception"].endswith("ValueError: spilt 7")
    assert "hunter2" not in log.getvalue()


@pytest.mark.parametrize(
    ("level", "ours", "theirs"),
    [
        ("debug", ["debug", "info", "warning", "error"], ["info", "warning", "error"]),
        ("info", ["info", "warning", "error"], ["info", "warning", "error"]),
        ("warning", ["warning", "error"], ["warning", "error"]),
        ("error", ["error"], ["error"]),
    ],
)
def test_a_level_holds_for_all_and_debug_for_ours_only(level: Any, ours: list[str], theirs: list[str]) -> None:
    log = Log()
    logs.configure(level, stream=log)
    for name in ("debug", "info", "warning", "error"):
        getattr(logs.get_logger("tea"), name)("ours")
        getattr(logging.getLogger("library"), name)("theirs")
    assert [one["level"] for one in log.events() if one["event"] == "ours"] == ours
    assert [one["level"] for one in log.events() if one["event"] == "theirs"] == theirs


@pytest.mark.parametrize("name", [*CHAT_QUIET, *HISTORY_QUIET, "botocore.auth", "pymongo.command"])
def test_libraries_that_would_tell_too_much_are_quiet(name: str) -> None:
    log = Log()
    logs.configure("debug", stream=log, quiet=(*CHAT_QUIET, *HISTORY_QUIET))
    logging.getLogger(name).info('127.0.0.1:1 - "WebSocket /connect?clientId=anna"')
    assert log.getvalue() == ""
    logging.getLogger(name).warning("out of tea")
    assert [one["event"] for one in log.events()] == ["out of tea"]


def test_warnings_of_python_are_events(log: Log) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old tea", UserWarning, stacklevel=1)
    told = log.only()
    assert (told["level"], told["logger"]) == ("warning", "py.warnings")
    assert "old tea" in told["event"]


def test_the_last_configuration_counts_and_nothing_is_told_twice(log: Log) -> None:
    early = logs.get_logger("tea")
    later = Log()
    logs.configure(stream=later)
    early.info("poured")
    logging.getLogger("library").warning("hot")
    assert (log.getvalue(), [one["event"] for one in later.events()]) == ("", ["poured", "hot"])


def test_people_read_lines_without_colours_when_it_is_no_terminal() -> None:
    log = Log()
    logs.configure(format="console", stream=log)
    logs.get_logger("tea").info("poured", cups=3, text="hunter2")
    assert "poured" in log.getvalue()
    assert "cups=3" in log.getvalue()
    assert "\x1b" not in log.getvalue()
    assert "hunter2" not in log.getvalue()


def test_standard_error_is_where_logs_go_also_when_it_is_redirected_later(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logs.get_logger("tea").info("poured")
    logging.getLogger("library").warning("hot")
    out, err = capsys.readouterr()
    assert out == ""
    assert [json.loads(line)["event"] for line in err.splitlines()] == ["poured", "hot"]


@pytest.mark.parametrize(
    ("error", "code"), [("ValueError('spilt')", 1), ("SystemExit(3)", 3)], ids=["an exception", "an exit code"]
)
def test_a_program_that_fails_says_so_in_one_event(error: str, code: int) -> None:
    program = f"from servicekit import logs\nlogs.configure()\nraise {error}\n"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout) == (code, "")
    events = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [one["event"] for one in events] == (["the program failed"] if code == 1 else [])
    assert all(one["exception"].endswith("ValueError: spilt") for one in events)
