from botkit import AudioInfo, Memory, RequestKind, Said, Speaker, Transcript, Turn
from botkit.testing import MONDAY_MORNING


def text(said: str) -> Turn:
    return Turn(kind=RequestKind.TEXT, client_id="anna", local_time=MONDAY_MORNING, text=said)


def voice(seconds: float) -> Turn:
    return Turn(kind=RequestKind.VOICE, client_id="anna", local_time=MONDAY_MORNING, audio=AudioInfo(seconds))


def test_both_sides_are_remembered_in_order() -> None:
    memory = Memory()
    memory.add(text("hello"), "hi")
    memory.add(voice(3.21), "I listened")
    assert list(memory) == [
        Said(Speaker.CLIENT, "hello", RequestKind.TEXT, "hello"),
        Said(Speaker.BOT, "hi", RequestKind.TEXT),
        Said(Speaker.CLIENT, "(a voice note of 3.2 seconds)", RequestKind.VOICE),
        Said(Speaker.BOT, "I listened", RequestKind.VOICE),
    ]
    assert list(memory.client_texts) == ["hello"]
    assert (memory.turns, memory.first_text, len(memory)) == (2, "hello", 4)


def test_what_was_said_in_a_voice_note_counts_as_words() -> None:
    memory = Memory(max_bytes=100)
    heard = AudioInfo(2, transcript=Transcript("hello there", "en"))
    turn = Turn(kind=RequestKind.VOICE, client_id="a", local_time=MONDAY_MORNING, audio=heard)
    memory.add(turn, "hi")
    assert [said.text for said in memory] == ['(a voice note of 2.0 seconds: "hello there")', "hi"]
    assert (list(memory.client_texts), memory.first_text) == (["hello there"], "hello there")
    for _ in range(20):
        memory.add(turn, "hi")
        assert sum(len(said.text.encode()) + len(said.words.encode()) for said in memory) <= 100


def test_only_so_many_messages_are_kept_and_the_very_first_text() -> None:
    memory = Memory(max_messages=4)
    for number in range(10):
        memory.add(text(f"q{number}"), f"a{number}")
    assert [said.text for said in memory] == ["q8", "a8", "q9", "a9"]
    assert (memory.first_text, memory.turns) == ("q0", 10)


def test_only_so_many_bytes_are_kept() -> None:
    memory = Memory(max_bytes=100)
    for _ in range(50):
        memory.add(text("ä" * 20), "x" * 10)
        assert sum(len(said.text.encode()) for said in memory) <= 100
    assert len(memory) == 4


def test_a_text_larger_than_everything_empties_the_memory() -> None:
    memory = Memory(max_bytes=10)
    memory.add(text("x" * 100), "y" * 100)
    assert len(memory) == 0


def test_long_texts_are_cut_and_white_space_is_not_remembered() -> None:
    memory = Memory(text_characters=5)
    memory.add(text("  123456789 "), "   ")
    assert [said.text for said in memory] == ["12345"]


def test_notes_count() -> None:
    memory = Memory()
    assert [memory.count("hello") for _ in range(3)] == [0, 1, 2]
    assert memory.count("other") == 0
