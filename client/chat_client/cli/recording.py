"""A voice note from the microphone, by a tool that this machine has for it."""

import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chat_client.cli.clock import now
from chat_client.errors import FileError
from chat_client.files import save

LONGEST_SECONDS: Final = 120  # longer ones are refused by a server with the usual settings
END_SECONDS: Final = 5.0
ENCODE_SECONDS: Final = 60.0
INPUTS: Final = {"darwin": ("avfoundation", ":0")}
OTHER_INPUT: Final = ("pulse", "default")


@dataclass(frozen=True, slots=True)
class Recorder:
    """A program that records, and its arguments before the name of the file. SIGINT ends it."""

    program: str
    arguments: tuple[str, ...]


def _recorders() -> tuple[Recorder, ...]:
    kind, device = INPUTS.get(sys.platform, OTHER_INPUT)
    return (
        Recorder("arecord", ("-q", "-f", "S16_LE", "-r", "44100", "-c", "1", "-t", "wav")),
        Recorder("pw-record", ("--rate", "44100", "--channels", "1")),
        Recorder("rec", ("-q", "-r", "44100", "-c", "1")),
        Recorder("ffmpeg", ("-nostdin", "-loglevel", "error", "-y", "-f", kind, "-i", device, "-ac", "1")),
    )


WHAT_TO_INSTALL: Final = {
    "darwin": "install ffmpeg or sox, such as by: brew install sox",
    "linux": "install arecord (in alsa-utils), pw-record (in pipewire-bin), rec (in sox) or ffmpeg",
}
OTHERWISE: Final = "install rec (in sox) or ffmpeg"


def find_recorder() -> Recorder:
    """Return the first recorder that this machine has.

    Raises:
        FileError: it has none.
    """
    for recorder in _recorders():
        if shutil.which(recorder.program):
            return recorder
    raise FileError(f"nothing here records: {WHAT_TO_INSTALL.get(sys.platform, OTHERWISE)}")


class Recording:
    """A recording under way. `recording` makes one."""

    def __init__(self, recorder: Recorder, process: asyncio.subprocess.Process, path: Path) -> None:
        self._recorder = recorder
        self._process = process
        self._path = path

    async def ended(self) -> None:
        """Return when it has ended by itself: after the longest time, or because the recorder failed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_SECONDS):
                await self._process.wait()

    async def keep(self, folder: Path) -> Path:
        """End it, and save it in a folder: as MP3 where ffmpeg is there to make one, else as WAV.

        Raises:
            FileError: nothing was recorded, or it cannot be saved.
        """
        await stop(self._process)
        if not self._path.exists() or not self._path.stat().st_size:
            said = (await self._process.stderr.read() if self._process.stderr else b"").decode(errors="replace")
            why = said.strip().splitlines()[-1:] or ["it said nothing"]
            raise FileError(f"{self._recorder.program} recorded nothing: {why[0]}")
        file = await _as_mp3(self._path) or self._path
        stem = now().strftime("%Y-%m-%dT%H-%M-%S-recording")
        return save(folder, stem, file.suffix, file.read_bytes())


@asynccontextmanager
async def recording(recorder: Recorder) -> AsyncIterator[Recording]:
    """Record for the length of an `async with` block; what is not kept is thrown away.

    Raises:
        FileError: the recorder cannot be started.
    """
    with tempfile.TemporaryDirectory(prefix="chat-client-") as folder:
        path = Path(folder) / "recording.wav"
        try:
            process = await asyncio.create_subprocess_exec(
                recorder.program,
                *recorder.arguments,
                str(path),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is ours: it throws the recording away
            )
        except OSError as exc:
            raise FileError(f"{recorder.program} cannot be started: {exc.strerror}") from exc
        try:
            yield Recording(recorder, process, path)
        finally:
            await stop(process)


async def stop(process: asyncio.subprocess.Process) -> None:
    """End a process as Ctrl-C does, which lets it write the file to its end; after a while without that."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    try:
        async with asyncio.timeout(END_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def _as_mp3(wav: Path) -> Path | None:
    """Return an MP3 of it; None where nothing here makes one."""
    if shutil.which("ffmpeg") is None:
        return None
    mp3 = wav.with_suffix(".mp3")
    quiet = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *("ffmpeg", "-nostdin", "-loglevel", "quiet", "-y", "-i", str(wav), "-codec:a", "libmp3lame", str(mp3)),
            stdin=quiet,
            stdout=quiet,
            stderr=quiet,
        )
    except OSError:
        return None
    with suppress(TimeoutError):
        async with asyncio.timeout(ENCODE_SECONDS):
            await process.wait()
    await stop(process)
    return mp3 if process.returncode == 0 and mp3.exists() else None
