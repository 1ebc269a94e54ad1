"""What a media worker cannot do, tried by a process that is confined as a worker is, and info at real workers."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from chat_service.media import syscall_filter
from chat_service.media.syscall_filter import FilterRefused, refuse_dangerous_calls
from tests.chat.media.making import RED, silent_mp3, video
from tests.chat.media.test_workers import workers_of

pytestmark = pytest.mark.skipif(
    platform.machine() not in syscall_filter.AUDIT_MACHINE, reason="there is no filter for this machine"
)

CONFINED = """
import ctypes, os, resource, signal, socket, subprocess, sys, threading
from chat_service.media.syscall_filter import refuse_dangerous_calls
from chat_service.media.confined import limit_resources

parent = os.getppid()
inherited = socket.socket()
limit_resources(0)
refuse_dangerous_calls()
libc = ctypes.CDLL(None, use_errno=True)

def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")
"""


def run_confined(act: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", CONFINED + act],
        cwd=folder,
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "act",
    [
        "socket.socket()",
        "socket.socketpair()",
        "socket.socket(socket.AF_UNIX)",
        "inherited.connect(('127.0.0.1', 9))",
        "os.fork()",
        "os.execv(sys.executable, [sys.executable, '-c', ''])",
        "subprocess.run([sys.executable, '-c', ''])",
        "os.posix_spawn(sys.executable, [sys.executable], {})",
        "os.system('true') and sys.exit('PermissionError: the shell was not started')",
        "os.kill(parent, 0)",
        "signal.pidfd_send_signal(0, 0)",
        "os.pidfd_open(parent)",
        "open('new', 'wb')",
        "open('there', 'ab')",
        "open('there', 'r+b')",
        "os.truncate('there', 0)",
        "os.remove('there')",
        "os.rename('there', 'gone')",
        "os.link('there', 'new')",
        "os.symlink('there', 'new')",
        "os.mkdir('new')",
        "os.chmod('there', 0)",
    ],
)
def test_it_is_refused(act: str, tmp_path: Path) -> None:
    tmp_path.joinpath("there").write_bytes(b"untouched")
    before = tmp_path.joinpath("there").stat()
    ended = run_confined(act, tmp_path)
    assert "PermissionError" in ended.stderr
    assert ended.returncode == 1
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    after = tmp_path.joinpath("there").stat()
    assert (after.st_size, after.st_mode, after.st_mtime_ns) == (before.st_size, before.st_mode, before.st_mtime_ns)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are of x86-64")
@pytest.mark.parametrize(
    "act",
    ["call(425, 1, 0)", "call(435, 0, 0)", "call(57)", "call(56, 17, 0, 0, 0, 0)", "call(0x40000000 + 41, 2, 1, 0)"],
    ids=["io_uring", "clone3", "fork", "clone without a thread", "a call of x32"],
)
def test_what_python_has_no_name_for_is_refused_too(act: str, tmp_path: Path) -> None:
    ended = run_confined(act, tmp_path)
    assert "Error" in ended.stderr
    assert ended.returncode == 1


def test_it_cannot_open_many_files(tmp_path: Path) -> None:
    ended = run_confined("kept = [open(os.devnull) for _ in range(40)]", tmp_path)
    assert "Too many open files" in ended.stderr


@pytest.mark.parametrize(
    "act",
    [
        "threading.Thread(target=print, args=('done',)).start()",
        "print('done' if open(sys.executable, 'rb').read(4) else '')",
        "import json, decimal; print('done')",
    ],
)
def test_what_decoders_need_goes_on(act: str, tmp_path: Path) -> None:
    ended = run_confined(act, tmp_path)
    assert (ended.stdout, ended.returncode) == ("done\n", 0), ended.stderr


async def test_every_worker_is_confined_and_works(capfd: pytest.CaptureFixture[str]) -> None:
    async with workers_of(2) as workers:
        for pid in workers.pids:
            status = Path(f"/proc/{pid}/status").read_text()
            assert "Seccomp:\t2" in status
            assert "NoNewPrivs:\t1" in status
            lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
            limits = {line[:25].strip(): line[26:].split()[1] for line in lines}
            assert (limits["Max open files"], limits["Max file size"], limits["Max core file size"]) == ("32", "0", "0")
            assert int(limits["Max address space"]) == 1024**3
        assert await workers.synthesize("hello")
        assert (await workers.probe_audio(silent_mp3(1))).seconds > 0
        for codec in ("libx264", "libx265", "libsvtav1", "libvpx-vp9"):
            assert (await workers.probe_video(video(RED, codec=codec, size=(128, 96), sound=True))).has_sound
    assert "media.worker_unconfined" not in capfd.readouterr().out


def test_a_machine_without_a_filter_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(FilterRefused, match="none for linux on riscv64"):
        refuse_dangerous_calls()


async def test_workers_without_a_filter_work_and_are_logged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tmp_path.joinpath("sitecustomize.py").write_text("import platform\nplatform.machine = lambda: 'riscv64'\n")
    monkeypatch.syspath_prepend(tmp_path)
    async with workers_of(1) as workers:
        assert await workers.synthesize("hello")
    assert "no filter of system calls: there is none for linux on riscv64" in capfd.readouterr().out
