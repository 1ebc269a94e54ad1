"""Runs of pytest in a fork: of all tests, to see which lines each executes, or of some, against a changed module."""

import importlib.abc
import importlib.util
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

import pytest

_QUIETLY = ("-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")


@dataclass(slots=True)
class Test:
    """A test as it ran without a change.

    Attributes:
        node: how pytest names it.
        seconds: with its fixtures.
        lines: those that it executed, by file.
    """

    node: str
    seconds: float = 0.0
    lines: dict[str, set[int]] = field(default_factory=dict)
    passed: bool = True

    def executes(self, file: str, lines: range) -> bool:
        """Return whether it executed one of some lines."""
        return not self.lines.get(file, set()).isdisjoint(lines)


class Recorder:
    """A plugin of pytest: records which lines of some files each test executes.

    Attributes:
        tests: those that have run.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self.tests: list[Test] = []
        self._files = frozenset(files)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Trace the test and its fixtures."""
        test = Test(item.nodeid)
        self.tests.append(test)

        def on_line(frame: FrameType, event: str, argument: Any) -> Any:
            del event, argument
            test.lines.setdefault(frame.f_code.co_filename, set()).add(frame.f_lineno)
            return on_line

        def on_call(frame: FrameType, event: str, argument: Any) -> Any:
            return on_line(frame, event, argument) if frame.f_code.co_filename in self._files else None

        begun = time.monotonic()
        if self._files:
            threading.settrace(on_call)
            sys.settrace(on_call)
        try:
            return (yield)
        finally:
            if self._files:
                sys.settrace(None)
                threading.settrace(None)
            test.seconds = time.monotonic() - begun

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure."""
        if report.failed:
            self.tests[-1].passed = False


class Chosen:
    """A plugin of pytest: runs some tests, in an order that is given.

    Attributes:
        failed: the first that failed, if any.
    """

    def __init__(self, nodes: Sequence[str]) -> None:
        self.failed: str | None = None
        self._nodes = nodes

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what is not chosen."""
        by_node = {item.nodeid: item for item in items}
        items[:] = [by_node[node] for node in self._nodes if node in by_node]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure."""
        if report.failed:
            self.failed = self.failed or report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note that a file of tests can't be imported."""
        if report.failed:
            self.failed = self.failed or report.nodeid


class ChangedImport(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports changed code in place of a module."""

    def __init__(self, name: str, path: str, code: CodeType) -> None:
        self._name = name
        self._path = path
        self._code = code

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        """Find the one module."""
        del path, target
        return (
            importlib.util.spec_from_file_location(fullname, self._path, loader=self)
            if fullname == self._name
            else None
        )

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed code."""
        exec(self._code, module.__dict__)


def record(arguments: Sequence[str], files: Sequence[str]) -> list[Test]:
    """Run tests without a change."""

    def run() -> list[Test]:
        recorder = Recorder(files)
        pytest.main([*_QUIETLY[1:], *arguments], plugins=[recorder])
        return recorder.tests

    tests: list[Test] = in_fork(run, 900.0)
    return tests


def failing(nodes: Sequence[str], change: Callable[[], object], seconds: float) -> str | None:
    """Make a change, run tests, and return the first that fails. Raises TimeoutError."""

    def run() -> str | None:
        change()
        chosen = Chosen(nodes)
        code = pytest.main([*_QUIETLY, *sorted({node.split("::")[0] for node in nodes})], plugins=[chosen])
        return chosen.failed or (f"pytest ended with {code}" if code else None)

    failed: str | None = in_fork(run, seconds)
    return failed


def collect(arguments: Sequence[str]) -> None:
    """Import tests, and all that they import."""
    pytest.main([*_QUIETLY, "--collect-only", *arguments])


def in_fork(work: Callable[[], Any], seconds: float | None) -> Any:
    """Do something in a fork without output, and return what comes of it. Raises TimeoutError."""
    receiver, sender = Pipe(duplex=False)
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            receiver.close()
            silence()
            sender.send(work())
        finally:
            os._exit(0)
    sender.close()
    try:
        if not receiver.poll(seconds):
            os.kill(child, signal.SIGINT)
            raise TimeoutError
        return receiver.recv()
    except EOFError:
        return "the process died"
    finally:
        receiver.close()
        _end(child)


def silence() -> None:
    """Send what this process says to nobody."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)


def _end(child: int) -> None:
    """Wait for a child, which gets some seconds to end the servers that it has started. End those that are left."""
    end = time.monotonic() + 10.0
    while time.monotonic() < end and not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        time.sleep(0.01)
    for process in _session_of(child):
        _kill(process)
    os.waitpid(child, 0)


def _kill(process: int) -> None:
    """Kill a process, and wait until it is dead: only then are its sockets closed."""
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(process)
        try:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            select.select([handle], [], [], 10.0)
        finally:
            os.close(handle)


def _session_of(leader: int) -> Iterator[int]:
    """Return the processes of a session. Servers have process groups of their own, but not sessions."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(ProcessLookupError):
            if os.getsid(int(folder.name)) == leader:
                yield int(folder.name)
