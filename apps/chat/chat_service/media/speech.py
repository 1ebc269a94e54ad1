"""Speech: text in, sound out, by espeak-ng.

The library keeps its state in globals, so all speakers of a process must be used by one thread, and never one within
another: media workers are processes in which it is so.
"""

import ctypes
from typing import Final

MAX_CHARACTERS: Final = 2_000  # about two minutes; a longer text is spoken up to here
SILENCE_SECONDS: Final = 0.25  # after each text, so that one with nothing to pronounce is a sound too

# From espeak-ng's speak_lib.h.
OUTPUT_SYNCHRONOUS: Final = 2
INITIALIZE_DONT_EXIT: Final = 0x8000
POSITION_CHARACTER: Final = 1
CHARACTERS_UTF8: Final = 1
END_PAUSE: Final = 0x1000
RATE: Final = 1
USUAL_RATE: Final = 175  # words a minute
OK: Final = 0
SYNTH_CALLBACK: Final = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


class SynthesizerFailed(Exception):
    """The synthesizer does not work, or has no such voice."""


class SpeechSynthesizer:
    """A voice.

    Args:
        voice: a name that espeak-ng knows, e.g. `en-us`, `en-gb`, `de`.
        data_folder: the folder `espeak-ng-data`. The library cuts paths at 160 bytes, so prefer a short, relative one.

    Raises:
        SynthesizerFailed: the library does not start, or has no such voice.
    """

    def __init__(self, voice: str = "en-us", data_folder: str | None = None) -> None:
        import espeakng_loader  # noqa: PLC0415 - in workers only: a fault of it must not keep the service from saying so

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self._sound = bytearray()
        folder = data_folder or espeakng_loader.get_data_path()
        self.sample_rate: int = self._library.espeak_Initialize(
            OUTPUT_SYNCHRONOUS, 0, folder.encode(), INITIALIZE_DONT_EXIT
        )
        if self.sample_rate <= 0:
            raise SynthesizerFailed(f"espeak-ng does not start with its data in {folder}")
        self._voice = voice.encode()
        self._callback = SYNTH_CALLBACK(self._collect)  # kept here: the library only borrows it
        if self._library.espeak_SetVoiceByName(self._voice) != OK:
            raise SynthesizerFailed(
                f'espeak-ng has no voice "{voice}"; en-us, en-gb, de, fr and es are some of its voices'
            )

    def say(self, text: str, voice: str = "", *, words_per_minute: int = 0) -> bytes:
        """Return the text as sound: signed 16-bit samples of one channel, at `sample_rate`. Never empty.

        Args:
            text: what is said.
            voice: who says it; the usual voice without it, or when there is none of this name.
            words_per_minute: how fast; 0 for the usual pace.

        Raises:
            SynthesizerFailed: the library failed.
        """
        spoken = " ".join(shorten(text).replace("\0", " ").split()).encode()
        self._sound.clear()
        self._library.espeak_SetSynthCallback(self._callback)
        if not voice or self._library.espeak_SetVoiceByName(voice.encode()) != OK:
            self._library.espeak_SetVoiceByName(self._voice)
        self._library.espeak_SetParameter(RATE, words_per_minute or USUAL_RATE, 0)
        failed = self._library.espeak_Synth(
            spoken, len(spoken) + 1, 0, POSITION_CHARACTER, 0, CHARACTERS_UTF8 | END_PAUSE, None, None
        )
        if failed != OK:
            raise SynthesizerFailed(f"espeak-ng failed with {failed}")
        return bytes(self._sound) + bytes(2 * int(self.sample_rate * SILENCE_SECONDS))

    def _collect(self, samples: int | None, count: int, _events: int | None) -> int:
        if samples and count > 0:
            self._sound += ctypes.string_at(samples, count * 2)
        return 0


def shorten(text: str, limit: int = MAX_CHARACTERS) -> str:
    """Return the beginning of a text, whole words of at most so many characters."""
    if len(text) <= limit:
        return text
    head = text[: limit + 1]
    whole_words = head if head[-1].isspace() else head.rsplit(maxsplit=1)[0]
    return whole_words[:limit].rstrip()
