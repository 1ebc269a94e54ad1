"""How a process ends: signals sent to a real one."""

import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devtools.servers import ROOT
from tests.servicekit.tiny import SECONDS, tiny, wait_until

BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)


@BOTH
def test_a_signal_ends_an_idle_process_in_good_order(tmp_path: Path, number: signal.Signals) -> None:
    with tiny(tmp_path) as service:
        service.process.send_signal(number)
        assert service.exit_code() == 0
    assert service.told() == ["listening", "signal received", "draining", "drained"]
    assert service.events()[1]["signal"] == number.name
    assert service.closed_in_order


@BOTH
def test_readiness_ends_first_then_what_is_under_way_and_the_process_last(
    tmp_path: Path, number: signal.Signals
) -> None:
    with tiny(tmp_path, "slow") as service, ThreadPoolExecutor() as threads:
        assert service.get("/readyz")[0] == 200
        under_way = threads.submit(service.get, "/slow")
        wait_until((tmp_path / "asked").exists, "the request does not arrive")
        service.signal(number)
        wait_until(lambda: service.get("/readyz")[0] == 503, "it stays ready")
        assert '"draining"' in service.get("/readyz")[1]
        assert service.get("/healthz")[0] == 200
        service.go_on()
        assert under_way.result() == (200, "done")
        assert service.exit_code() == 0


@pytest.mark.parametrize(
    ("word", "told"),
    [
        pytest.param("leftover", "the drain left something over", id="something is left"),
        pytest.param("broken", "the drain failed", id="the drain raises"),
        pytest.param("stuck", "the drain took longer than its budget", id="the budget is used up"),
    ],
)
def test_a_drain_that_does_not_do_its_work_is_told_and_the_exit_code_is_1(tmp_path: Path, word: str, told: str) -> None:
    with tiny(tmp_path, word) as service:
        service.process.send_signal(signal.SIGTERM)
        assert service.exit_code() == 1
    assert service.told() == ["listening", "signal received", "draining", told]
    assert service.closed_in_order


@BOTH
def test_a_second_signal_ends_at_once_and_still_lets_go_of_everything(tmp_path: Path, number: signal.Signals) -> None:
    with tiny(tmp_path, "slow") as service:
        service.signal(signal.SIGTERM)
        service.process.send_signal(number)
        assert service.exit_code() == 1
    assert service.told()[-1] == "second signal: leaving at once"
    assert service.closed_in_order


@pytest.mark.parametrize("third", [True, False], ids=["a third signal", "a while"])
def test_after_a_second_signal_nothing_can_hold_the_process(tmp_path: Path, third: bool) -> None:
    with tiny(tmp_path, "slow", "clinging") as service:
        service.signal(signal.SIGTERM)
        service.signal(signal.SIGTERM)
        wait_until(lambda: service.closed_in_order, "it does not come to its end")
        if third:
            service.process.send_signal(signal.SIGINT)
        assert service.exit_code() == 1


def test_a_port_in_use_is_one_clear_line_and_nothing_is_left_listening(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with tiny(tmp_path, port=port) as service:
            assert service.exit_code() == 1
    assert service.output == f"cannot listen on 127.0.0.1:{port}: address already in use (set TEA_PORT)\n"
    assert service.closed_in_order


@pytest.mark.parametrize(
    ("program", "code"),
    [
        pytest.param("async def main(): return 7", 7, id="its own"),
        pytest.param("async def main(): raise SystemExit(3)", 3, id="a program that leaves"),
    ],
)
def test_the_exit_code_of_a_program_that_never_serves(program: str, code: int) -> None:
    source = f"import asyncio, signal, sys\nfrom servicekit.runner import run\n{program}\nsys.exit(run(main()))"
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", "")


@BOTH
def test_a_signal_before_serving_ends_the_start_in_good_order(number: signal.Signals) -> None:
    program = f"""
import asyncio, signal, sys
from servicekit.runner import run
async def main():
    try:
        signal.raise_signal({number.value})
        await asyncio.sleep(60)
    finally:
        print("closed")
sys.exit(run(main()))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[-1] == "closed"


def test_a_second_signal_while_a_start_is_ended_cuts_it_off() -> None:
    program = """
import asyncio, signal, sys
from servicekit.runner import run
async def main():
    try:
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(60)
    finally:
        signal.raise_signal(signal.SIGTERM)
        await asyncio.Event().wait()
sys.exit(run(main()))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (1, "")


def test_a_signal_after_the_end_does_not_change_the_exit_code() -> None:
    program = """
import signal, sys
from servicekit.runner import run
async def main(): return 7
code = run(main())
signal.raise_signal(signal.SIGTERM)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (7, "")


def test_a_process_whose_log_nobody_reads_any_more_still_ends_in_good_order(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.servicekit.tiny_service", str(tmp_path), "0"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=ROOT) as process:
        assert process.stderr is not None
        assert b"listening" in process.stderr.readline()
        process.stderr.close()
        process.terminate()
        try:
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()
    assert (tmp_path / "closed").exists()
