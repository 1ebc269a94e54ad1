"""Which media workers and which speech recognition the settings ask for."""

from typing import TYPE_CHECKING

from chat_service.media.hibari_speech import HIBARI_VOICE
from chat_service.media.speech_to_text import EmbeddedSpeechToText, EndpointSpeechToText, SpeechToText, whisper_pool
from chat_service.media.text_to_speech import EndpointTextToSpeech, TextToSpeech, Voices
from chat_service.media.workers import ProcessMediaWorkers

if TYPE_CHECKING:
    from chat_service.settings import ChatSettings


def media_workers(settings: "ChatSettings") -> ProcessMediaWorkers:
    """Return what does the media work of a pod, not yet started."""
    return ProcessMediaWorkers(
        processes=settings.media_processes,
        per_client=settings.media_processes_per_client,
        job_seconds=settings.media_job_seconds,
        job_cpu_seconds=settings.media_cpu_seconds,
        max_media_seconds=settings.media_max_seconds,
        other_formats=settings.media_other_formats,
        max_waiting=settings.media_max_waiting,
        recognizer=_recognizer(settings),
        max_recordings=settings.speech_max_recordings,
        voices=_voices(settings),
        synthesizer=_synthesizer(settings),
        cache_bytes=settings.voice_cache,
    )


def _voices(settings: "ChatSettings") -> Voices:
    pairs = (pair.split("=") for pair in settings.voices.split(",") if pair)
    usual = HIBARI_VOICE if settings.voice_engine == "hibari" else settings.voice
    return Voices(usual, dict(pairs))


def _synthesizer(settings: "ChatSettings") -> TextToSpeech | None:
    if settings.voice_engine != "endpoint":
        return None
    assert settings.voice_url is not None  # noqa: S101 - the settings were checked
    return EndpointTextToSpeech(
        base_url=str(settings.voice_url),
        model=settings.voice_model,
        voice=settings.voice_name,
        api_key=settings.speech_api_key,
        seconds=settings.voice_seconds,
    )


def _recognizer(settings: "ChatSettings") -> SpeechToText | None:
    match settings.speech:
        case "off":
            return None
        case "embedded":
            workers = whisper_pool(
                settings.speech_model,
                processes=settings.speech_processes,
                threads=settings.speech_threads,
                part_cpu_seconds=settings.speech_cpu_seconds,
                memory_bytes=settings.speech_memory,
            )
            return EmbeddedSpeechToText(workers, language=settings.speech_language, seconds=settings.speech_seconds)
        case "endpoint":
            assert settings.speech_url is not None  # noqa: S101 - the settings were checked
            return EndpointSpeechToText(
                base_url=str(settings.speech_url),
                model=settings.speech_endpoint_model,
                api_key=settings.speech_api_key,
                language=settings.speech_language,
                seconds=settings.speech_seconds,
            )
