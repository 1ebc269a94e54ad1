"""The settings of speech: what recognizes it, what speaks, and how much of both."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from chat_service.media.model import FOLDER
from chat_service.setting_fields import BaseUrl, Seconds, Token
from servicekit.settings import ByteSize, ServiceSettings

MIB = 1024 * 1024


class SpeechSettings(ServiceSettings):
    """A part of the settings of a chat pod."""

    media_max_waiting: int = Field(
        500, ge=1, le=1_000_000, description="media jobs that may wait for a worker; further ones are answered busy"
    )
    speech: Literal["off", "embedded", "endpoint"] = Field(
        "off",
        description="recognition of speech in voice and video; embedded: Whisper in this pod; endpoint: a service",
    )
    speech_language: str = Field(
        "", pattern="^([a-z]{2})?$", description="language of all speech, such as en or de; detected without it"
    )
    speech_seconds: Seconds = Field(60, description="how long speech recognition may take for one message")
    speech_max_recordings: int = Field(
        64, ge=1, le=10_000, description="recordings that are or wait to be recognized; further ones are answered busy"
    )
    speech_model: Path = Field(
        FOLDER, description="CHAT_SPEECH=embedded: folder of a Whisper model, as CTranslate2 has it"
    )
    speech_processes: int = Field(
        1, ge=1, le=64, description="CHAT_SPEECH=embedded: worker processes for speech, each with the model in memory"
    )
    speech_threads: int = Field(1, ge=1, le=64, description="CHAT_SPEECH=embedded: CPU threads of one such worker")
    speech_cpu_seconds: Seconds = Field(
        60, description="CHAT_SPEECH=embedded: CPU time for half a minute of speech; more ends the worker"
    )
    speech_memory: ByteSize = Field(
        1536 * MIB, ge=256 * MIB, description="CHAT_SPEECH=embedded: address space of one such worker"
    )
    speech_url: BaseUrl | None = Field(
        None, description="CHAT_SPEECH=endpoint: an API as OpenAI's for transcriptions, with its /v1"
    )
    speech_endpoint_model: str = Field("whisper-1", description="CHAT_SPEECH=endpoint: the name of the model")
    speech_api_key: Token | None = Field(None, description="the key of the APIs of CHAT_SPEECH and CHAT_VOICE_ENGINE")

    voice_engine: Literal["espeak", "hibari", "endpoint"] = Field(
        "espeak",
        description="speech synthesis; hibari: for English, espeak-ng for other languages; endpoint: a service",
    )
    voice: str = Field(
        "en-us",
        pattern=r"^[A-Za-z0-9_+-]{1,40}$",
        description="the voice of espeak-ng for English and for texts whose language cannot be told",
    )
    voices: str = Field(
        "",
        pattern=r"^([a-z]{2}=[A-Za-z0-9_+-]{1,40}(,|$)){0,100}$",
        description="voices of espeak-ng for other languages than its own choice, as de=de+f2,fr=fr-be",
    )
    voice_cache: ByteSize = Field(16 * MIB, ge=0, le=1024 * MIB, description="size of the cache of synthesized speech")
    voice_url: BaseUrl | None = Field(
        None, description="CHAT_VOICE_ENGINE=endpoint: an API as OpenAI's for speech, with its /v1"
    )
    voice_model: str = Field("tts-1", description="CHAT_VOICE_ENGINE=endpoint: the name of the model")
    voice_name: str = Field("alloy", description="CHAT_VOICE_ENGINE=endpoint: the name of the voice")
    voice_seconds: Seconds = Field(30, description="CHAT_VOICE_ENGINE=endpoint: how long it may take for one text")

    @model_validator(mode="after")
    def _speech_is_whole(self) -> Self:
        if self.speech == "endpoint" and self.speech_url is None:
            raise ValueError("CHAT_SPEECH=endpoint needs CHAT_SPEECH_URL, the address of the API with its /v1")
        if self.voice_engine == "endpoint" and self.voice_url is None:
            raise ValueError("CHAT_VOICE_ENGINE=endpoint needs CHAT_VOICE_URL, the address of the API with its /v1")
        return self
