"""A media worker: the process that touches what strangers send. `python -m chat_service.media.worker SETTINGS`."""

import contextlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TypedDict

import espeakng_loader

from chat_service.media.audio import encode_mp3, probe_audio
from chat_service.media.base import MediaError
from chat_service.media.boxes import WorkLimits
from chat_service.media.confined import CannotStart, serve
from chat_service.media.hibari_speech import HIBARI_VOICE, HibariSynthesizer
from chat_service.media.pcm import PcmRecording
from chat_service.media.pipe import Job, PipeMessage, WorkerSettings
from chat_service.media.speech import SpeechSynthesizer, SynthesizerFailed
from chat_service.media.video import probe_video


class _Accepted(TypedDict):
    max_seconds: float
    other_formats: bool
    limits: WorkLimits


class JobRunner:
    """Runs the jobs of a worker."""

    def __init__(self, settings: WorkerSettings, speech_data: str) -> None:
        self._accepted: _Accepted = {
            "max_seconds": settings.max_media_seconds,
            "other_formats": settings.other_formats,
            "limits": WorkLimits(settings.max_boxes, settings.max_entries),
        }
        self._speaker = SpeechSynthesizer(settings.voice, speech_data)
        self._better = HibariSynthesizer() if settings.better_voice else None

    def run(self, job: PipeMessage) -> PipeMessage:
        """Do a job and return its result. Raises MediaError."""
        body = bytes(job.body)
        sound = PcmRecording() if job.head.get("with_sound") else None
        match Job(job.head["job"]):
            case Job.PROBE_AUDIO:
                audio = probe_audio(body, sound=sound, **self._accepted)
                return PipeMessage(asdict(audio), sound.pcm if sound else b"")
            case Job.PROBE_VIDEO:
                facts = asdict(probe_video(body, sound=sound, **self._accepted))
                picture = facts.pop("picture")
                head = {**facts, "picture_bytes": len(picture), "silent": sound is None or sound.is_silent}
                return PipeMessage(head, picture + sound.pcm if sound else picture)
            case Job.SYNTHESIZE:
                voice = str(job.head.get("voice") or "")
                speaker = self._better if self._better is not None and voice == HIBARI_VOICE else self._speaker
                return PipeMessage({}, encode_mp3(speaker.say(body.decode(), voice), sample_rate=speaker.sample_rate))
            case _ as other:
                raise NotImplementedError(other)

    def warm_up(self) -> None:
        """Use every codec once: the first time takes longer."""
        spoken = self.run(PipeMessage({"job": Job.SYNTHESIZE}, b"ready"))
        if self._better is not None:
            self._better.say("ready")
        with contextlib.suppress(MediaError):  # when not even a word is short enough for max_media_seconds
            self.run(PipeMessage({"job": Job.PROBE_AUDIO}, spoken.body))


def open_runner(settings: WorkerSettings) -> JobRunner:
    """Return a runner that can work at once.

    Raises:
        CannotStart: the library for speech or its data are not there.
    """
    try:
        # espeak-ng cannot find data behind a path of more than 160 bytes, so it gets a short one.
        data = Path(espeakng_loader.get_data_path())
        os.chdir(data.parent)
        runner = JobRunner(settings, data.name)
        runner.warm_up()
    except (SynthesizerFailed, OSError, ImportError) as exc:
        raise CannotStart(str(exc)) from exc
    return runner


if __name__ == "__main__":
    serve(WorkerSettings(**json.loads(sys.argv[1])), open_runner)
