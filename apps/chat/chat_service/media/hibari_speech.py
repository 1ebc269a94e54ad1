"""A better voice for English: hibari, a small neural network that is shipped in its wheel (extra `voice`)."""

from typing import Any, Final

from chat_service.media.speech import SILENCE_SECONDS, SynthesizerFailed, shorten

HIBARI_VOICE: Final = "hibari"
NOT_INSTALLED: Final = "CHAT_VOICE_ENGINE=hibari needs the extra chatbot-chat[voice]: ./taskw setup:speech"


class HibariSynthesizer:
    """An American English voice.

    Raises:
        SynthesizerFailed: it is not installed.
    """

    def __init__(self) -> None:
        try:
            import numpy  # noqa: ICN001, PLC0415 - an extra
            import onnxruntime  # noqa: PLC0415
            from hibari import Hibari  # noqa: PLC0415
        except ImportError as exc:
            raise SynthesizerFailed(f"{NOT_INSTALLED} ({exc})") from exc
        onnxruntime.disable_telemetry_events()  # they would not get out of a worker; nor should they be tried
        self._numpy: Any = numpy
        self._hibari: Any = Hibari()
        self.sample_rate: int = self._hibari.sample_rate

    def say(self, text: str, voice: str = "") -> bytes:
        """Return the text as sound: signed 16-bit samples of one channel, at `sample_rate`. Never empty."""
        del voice
        words = " ".join(shorten(text).split())
        silence = bytes(2 * int(self.sample_rate * SILENCE_SECONDS))
        if not any(char.isalnum() for char in words):
            return silence
        sound = self._numpy.clip(self._hibari(words, seed=0), -1.0, 1.0)
        pcm: bytes = (sound * 32_767).astype(self._numpy.int16).tobytes()
        return pcm + silence
