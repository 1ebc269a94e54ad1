"""What is read aloud, by which voice; the cache; a service that speaks."""

import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from chat_service.media.language import guess_language
from chat_service.media.spoken_text import ENGLISH, LOOKED_AT_CHARACTERS, MARKDOWN, Substitution, spoken_text
from chat_service.media.text_to_speech import EndpointTextToSpeech, SpeechCache, SpokenText, SynthesisError, Voices
from tests.chat.media.making import loudness, silent_mp3
from tests.chat.media.test_workers import workers_of


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("It is 09:05 where you are.", "It is 9 oh 5 where you are."),
        ("Between 9:00 and 17:30", "Between 9 o'clock and 17 30"),
        ("At 00:00 and 14:00", "At midnight and 14 hundred hours"),
        ("a ratio of 1:2:03:04", "a ratio of 1:2:03:04"),
        ("On 2026-06-01 it costs $1,200.50 or €3.00.", "On 1 June 2026 it costs 1200 dollars 50 or 3 euros."),
        (
            "Fruit, e.g. apples, i.e. 3 kg at 20 °C, etc.",
            "Fruit, for example apples, that is 3 kilograms at 20 degrees Celsius, et cetera.",
        ),
        (
            "Dr. Who drove 50 km/h & 640x480 pixels, 20%",
            "Doctor Who drove 50 kilometres an hour and 640 by 480 pixels, 20 percent",
        ),
        ("**Bold** and *slanted*, `code`, ~~gone~~, __so__", "Bold and slanted, code, gone, so"),
        ("snake_case_name and 2 * 3", "snake_case_name and 2 3"),
        ("# A head\n\ntext", "A head. text"),
        ("- one\n- two.\n* three", "one. two. three."),
        ("[the page](https://example.com/a?b) and https://example.com/x", "the page and a link"),
        ("![a cat](cat.png)", "a cat"),
        ("before\n```python\nprint('x')\n```\nafter", "before (code) after"),
        ("> quoted\n> twice", "quoted twice"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "a, b. 1, 2."),
        ("Well done! 🎉👍🏽 👨‍👩‍👧 ❤️ 🇩🇪", "Well done!"),
        ("<b>so</b><br>it is", "so it is"),
        ("🎉", ""),
    ],
)
def test_english_is_read_as_it_is_said(text: str, spoken: str) -> None:
    assert spoken_text(text, "en") == spoken


def test_other_languages_keep_their_numbers_for_the_synthesizer() -> None:
    assert spoken_text("Es ist **09:05** Uhr, z. B. 20 %.", "de") == "Es ist 09:05 Uhr, z. B. 20 %."


PIECES = (*"*|#[_` -~", "* ", "| ", "# ", "[](", "```\n", "<a", "> ", "- a ", "1:", "*a ")


@pytest.mark.parametrize("piece", PIECES)
def test_no_text_takes_long_on_the_event_loop(piece: str) -> None:
    began = time.process_time()
    spoken_text(piece * (2 * LOOKED_AT_CHARACTERS // len(piece)) + "x", "en")
    assert time.process_time() - began < 2, "a pattern takes time that grows with the square of the text"


@pytest.mark.parametrize("rule", [*MARKDOWN, *ENGLISH], ids=lambda rule: rule.pattern.pattern)
@given(data=st.data())
def test_whatever_a_pattern_matches_has_one_of_its_marks(rule: Substitution, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(rule.pattern))
    assert any(mark in text for mark in rule.marks)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What time is it where you are?", "en"),
        ("Guten Morgen, wie geht es dir und was ist das?", "de"),
        ("Bonjour, je suis dans la maison avec vous", "fr"),
        ("Привет, как дела", "ru"),
        ("今日は良い天気です", "ja"),
        ("今天天气很好", "zh"),
        ("안녕하세요", "ko"),
        ("\u0393\u03b5\u03b9\u03ac \u03c3\u03bf\u03c5", "el"),
        ("OK", ""),
        ("", ""),
    ],
)
def test_languages_are_guessed(text: str, language: str) -> None:
    assert guess_language(text) == language


def test_voices_by_language_and_setting() -> None:
    voices = Voices("en-gb", {"de": "de+f2"})
    assert voices.choose("What time is it where you are?").voice == "en-gb"
    assert voices.choose("Was ist das und wie geht es?").voice == "de+f2"
    assert voices.choose("Je suis dans la maison avec vous").voice == "fr-fr"
    assert voices.choose("OK", "de").voice == "de+f2"
    assert voices.choose("OK").voice == "en-gb"


def test_the_cache_is_bounded_and_keeps_what_was_used_lately() -> None:
    cache = SpeechCache(100)
    a, b, c = (SpokenText(letter, "en") for letter in "abc")
    cache.put(a, b"x" * 40)
    cache.put(b, b"x" * 40)
    assert cache.get(a) == b"x" * 40
    cache.put(c, b"x" * 40)
    assert (cache.get(a), cache.get(b), cache.get(c)) == (b"x" * 40, None, b"x" * 40)
    cache.put(SpokenText("long", "en"), b"x" * 1000)
    assert cache.size_bytes <= 100
    cache.put(a, b"1")
    cache.put(a, b"22")
    assert cache.size_bytes == 2 + 1 + 2


async def test_a_text_that_was_spoken_is_not_spoken_again() -> None:
    async with workers_of(1) as workers:
        first = await workers.synthesize("Good **morning**")
        assert await workers.synthesize("Good morning 🎉") is first
        assert await workers.synthesize("Good morning", language="de") is not first


async def test_every_voice_speaks_and_one_that_there_is_not_is_replaced() -> None:
    async with workers_of(1, voices=Voices("en-us", {"xx": "no-such-voice"})) as workers:
        for text in (
            "Guten Morgen, wie geht es dir und was ist das?",
            "Привет, как дела",
            "今天天气很好",
            "こんにちは",
        ):
            assert loudness(await workers.synthesize(text))[0] > 0.01
        assert loudness(await workers.synthesize("OK", language="xx"))[0] > 0.01


async def test_the_better_voice_speaks_english_within_a_worker() -> None:
    async with workers_of(1, voices=Voices("hibari")) as workers:
        level, seconds = loudness(await workers.synthesize("Good evening. It is 09:05 where you are."))
        assert level > 0.01
        assert 1.5 < seconds < 6
        assert loudness(await workers.synthesize("Guten Morgen, wie geht es dir und was ist das?"))[0] > 0.01
        assert loudness(await workers.synthesize("🎉"))[1] > 0


class Service:
    """A service with OpenAI's API for speech."""

    def __init__(self) -> None:
        self.answer = web.Response(body=silent_mp3(1), content_type="audio/mpeg")
        self.asked: list[object] = []

    async def speech(self, request: web.Request) -> web.Response:
        self.asked.append((await request.json(), request.headers.get("Authorization")))
        return self.answer


@pytest.fixture
async def service() -> AsyncIterator[tuple[Service, EndpointTextToSpeech]]:
    served = Service()
    app = web.Application()
    app.router.add_post("/v1/audio/speech", served.speech)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield served, EndpointTextToSpeech(base_url=url, model="tts-1", voice="alloy", api_key=SecretStr("key"), seconds=10)
    await runner.cleanup()


async def test_a_service_speaks(service: tuple[Service, EndpointTextToSpeech]) -> None:
    served, endpoint = service
    async with workers_of(1, synthesizer=endpoint) as workers:
        assert await workers.synthesize("It is **09:05**") == silent_mp3(1)
        await workers.synthesize("It is 09:05")
    wanted = {"model": "tts-1", "voice": "alloy", "input": "It is 9 oh 5", "response_format": "mp3"}
    assert served.asked == [(wanted, "Bearer key")]


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=500, text="no"),
        lambda: web.Response(text="this is no sound"),
        lambda: web.Response(body=b"\xff\xfb" + bytes(9_000_000)),
        lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:9/"}),
    ],
)
async def test_when_a_service_fails_the_pod_speaks(
    service: tuple[Service, EndpointTextToSpeech], answer: object, capfd: pytest.CaptureFixture[str]
) -> None:
    served, endpoint = service
    assert callable(answer)
    served.answer = answer()
    async with endpoint:
        with pytest.raises(SynthesisError):
            await endpoint.synthesize("hello", voice="en")
    served.answer = answer()
    async with workers_of(1, synthesizer=endpoint) as workers:
        assert loudness(await workers.synthesize("Good evening"))[0] > 0.01
    assert "media.synthesis_failed" in capfd.readouterr().out
