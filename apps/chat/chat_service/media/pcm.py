"""Sound as speech recognizers take it: samples of 16 bits, one channel, 16,000 a second."""

import contextlib
from array import array
from typing import TYPE_CHECKING, Final

import av

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

SAMPLE_RATE: Final = 16_000
BYTES_PER_SAMPLE: Final = 2
BYTES_PER_SECOND: Final = SAMPLE_RATE * BYTES_PER_SAMPLE
MAX_SECONDS: Final = 1_800.0  # of sound that is kept; the rest of a longer recording is not recognized
SILENT_PEAK: Final = 0.001  # 60 dB below the loudest; a room in which nobody speaks is louder


class PcmRecording:
    """Collects the sound of a file."""

    def __init__(self) -> None:
        self._pcm = bytearray()
        self._resampler: av.AudioResampler | None = None
        self._form: tuple[str, str, int] | None = None

    @property
    def pcm(self) -> bytes:
        """The sound."""
        return bytes(self._pcm)

    @property
    def is_full(self) -> bool:
        """Whether no more is kept."""
        return len(self._pcm) >= MAX_SECONDS * BYTES_PER_SECOND

    @property
    def is_silent(self) -> bool:
        """Whether nothing in it is loud enough to be heard; every sixteenth sample is looked at."""
        samples = array("h", self._pcm)[::16]
        return not samples or max(abs(sample) for sample in samples) < SILENT_PEAK * (1 << 15)

    def add(self, frame: av.AudioFrame) -> None:
        """Add a piece of sound, in any form; a file may change the form in the middle."""
        if self.is_full:
            return
        form = frame.format.name, frame.layout.name, frame.sample_rate
        if self._resampler is None or form != self._form:
            self.finish()
            self._resampler, self._form = av.AudioResampler("s16", "mono", SAMPLE_RATE), form
        frame.pts = None  # gaps and jumps of the file's clock are not sound
        self._keep(self._resampler.resample(frame))

    def finish(self) -> None:
        """Add what the resampler still holds."""
        if self._resampler is not None:
            self._keep(self._resampler.resample(None))
            self._resampler = None

    def _keep(self, frames: "list[av.AudioFrame]") -> None:
        for frame in frames:
            self._pcm += memoryview(frame.planes[0])[: frame.samples * BYTES_PER_SAMPLE]


def record(container: "InputContainer", track: "AudioStream", sound: PcmRecording, *, max_seconds: float) -> None:
    """Decode a track and collect its sound; what is damaged in it is left out."""
    seconds = 0.0
    for packet in container.demux(track):
        with contextlib.suppress(av.InvalidDataError):
            for frame in packet.decode():
                seconds += frame.samples / frame.sample_rate
                sound.add(frame)
        if seconds > max_seconds or sound.is_full:
            break
    sound.finish()


def wav(pcm: bytes) -> bytes:
    """Return the sound as a WAV file."""
    head = b"RIFF" + (36 + len(pcm)).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    form = (1, 1, SAMPLE_RATE, BYTES_PER_SECOND, BYTES_PER_SAMPLE, 8 * BYTES_PER_SAMPLE)
    sizes = (2, 2, 4, 4, 2, 2)
    fields = b"".join(value.to_bytes(size, "little") for value, size in zip(form, sizes, strict=True))
    return head + fields + b"data" + len(pcm).to_bytes(4, "little") + pcm
