"""Speech out: the port for speech synthesis, the choice of a voice, a cache, and services that speak."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Protocol, Self

import aiohttp
from pydantic import SecretStr

from chat_service.media.language import guess_language
from chat_service.media.speech import shorten
from chat_service.media.spoken_text import spoken_text
from frameproto.media import FileFormat, identify

MAX_MP3_BYTES: Final = 8 * 1024 * 1024
ESPEAK_NAMES: Final = {"zh": "cmn", "fr": "fr-fr", "no": "nb"}  # where espeak-ng has no voice by the two letters


class SynthesisError(Exception):
    """A text could not be spoken; the message says why, for operators."""


class TextToSpeech(Protocol):
    """Speaks; an async context manager that lives as long as the pod."""

    async def synthesize(self, text: str, *, voice: str) -> bytes:
        """Return the text as MP3. Raises SynthesisError.

        Args:
            text: what is said, ready to be read aloud.
            voice: a name of `Voices`.
        """

    async def __aenter__(self) -> Self:
        """Start."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""


@dataclass(frozen=True, slots=True)
class SpokenText:
    """What is read aloud, and by which voice."""

    text: str
    voice: str


@dataclass(frozen=True, slots=True)
class Voices:
    """Which voice speaks which language.

    Attributes:
        usual: the voice for texts in English and in languages that cannot be told.
        by_language: voices for languages, as ISO 639-1 has them; for another, the voice of espeak-ng is taken.
    """

    usual: str = "en-us"
    by_language: Mapping[str, str] = field(default_factory=dict)

    def choose(self, text: str, hint: str = "") -> SpokenText:
        """Return what is read aloud of a text, and by whom.

        Args:
            text: a reply, which may be Markdown.
            hint: the language of the text, where nothing can be told from its words.
        """
        language = guess_language(text) or hint
        usual = self.usual if language in {"", "en"} else ESPEAK_NAMES.get(language, language)
        return SpokenText(shorten(spoken_text(text, language)), self.by_language.get(language, usual))


class SpeechCache:
    """The speech of texts that were spoken lately, up to so many bytes; the least recently used goes first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[SpokenText, bytes] = OrderedDict()
        self.size_bytes = 0

    def get(self, said: SpokenText) -> bytes | None:
        """Return the MP3, if it is there."""
        if said in self._kept:
            self._kept.move_to_end(said)
        return self._kept.get(said)

    def put(self, said: SpokenText, mp3: bytes) -> None:
        """Keep an MP3, and let the oldest go."""
        self.size_bytes += _size(said, mp3) - (_size(said, self._kept.pop(said)) if said in self._kept else 0)
        self._kept[said] = mp3
        while self.size_bytes > self._max_bytes:
            self.size_bytes -= _size(*self._kept.popitem(last=False))


def _size(said: SpokenText, mp3: bytes) -> int:
    return len(mp3) + len(said.text.encode()) + len(said.voice)


class EndpointTextToSpeech:
    """A service with the speech API of OpenAI.

    Args:
        base_url: of the API, up to and with `/v1`.
        model: its name.
        voice: who speaks, as the service names voices, whatever the language.
        api_key: what the API asks for; None: it asks for nothing.
        seconds: how long a text may take.
    """

    def __init__(self, *, base_url: str, model: str, voice: str, api_key: SecretStr | None, seconds: float) -> None:
        self._url = f"{base_url.rstrip('/')}/audio/speech"
        self._model = model
        self._voice = voice
        self._headers = {"Authorization": f"Bearer {api_key.get_secret_value()}"} if api_key else {}
        self._timeout = aiohttp.ClientTimeout(total=seconds)
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the connections."""
        self._http = aiohttp.ClientSession(headers=self._headers, timeout=self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()

    async def synthesize(self, text: str, *, voice: str) -> bytes:
        """Return the text as MP3. Raises SynthesisError."""
        del voice
        assert self._http is not None  # noqa: S101 - entered before its first text
        wanted = {"model": self._model, "voice": self._voice, "input": text, "response_format": "mp3"}
        try:
            async with self._http.post(self._url, json=wanted, allow_redirects=False) as response:
                mp3 = bytearray()
                async for piece in response.content.iter_any():
                    mp3 += piece
                    if len(mp3) > MAX_MP3_BYTES:
                        raise SynthesisError(f"the service for speech sent more than {MAX_MP3_BYTES} bytes")
                if response.status != 200:  # noqa: PLR2004 - the one status that has speech
                    raise SynthesisError(f"the service for speech answered {response.status}: {bytes(mp3[:200])!r}")
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            raise SynthesisError(f"the service for speech did not answer as it should: {exc!r:.200}") from exc
        if identify(mp3) is not FileFormat.MP3:
            raise SynthesisError("the service for speech sent something else than an MP3")
        return bytes(mp3)
