"""The scripted bot and what is said in voice notes and videos."""

from botkit import AudioInfo, RequestKind, Transcript, Turn, VideoInfo
from botkit.testing import MONDAY_MORNING, BotClient
from chat_service.bot.script import load_script
from chat_service.bot.scripted import ScriptedBot


def spoken(words: str) -> Turn:
    heard = AudioInfo(2, transcript=Transcript(words, "en"))
    return Turn(kind=RequestKind.VOICE, client_id="anna", local_time=MONDAY_MORNING, audio=heard)


async def test_a_spoken_question_is_answered_as_a_written_one() -> None:
    anna = BotClient(ScriptedBot(load_script()))
    assert "09:30" in await anna.send(spoken("What time is it?"))
    assert await anna.send(spoken("It rains.")) == "You said: It rains."
    assert await anna.say("what did I say?") == "You said: It rains."


async def test_a_note_without_words_is_answered_by_its_length() -> None:
    anna = BotClient(ScriptedBot(load_script()))
    assert "two seconds" in await anna.send(spoken(""))
    assert "three seconds" in await anna.speak(3)


async def test_shots_and_speech_of_a_video_are_told() -> None:
    anna = BotClient(ScriptedBot(load_script()))
    video = VideoInfo(7, 640, 480, b"", has_sound=True, shots=3, transcript=Transcript("look at this", "en"))
    said = await anna.send(anna.turn(RequestKind.VIDEO, video=video))
    assert "three shots" in said
    assert "look at this" in said
