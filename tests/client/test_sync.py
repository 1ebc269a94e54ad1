"""The client without `await`: the same names, in plain calls and loops."""

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from inspect import Parameter, signature
from pathlib import Path

import pytest

import chat_client
from chat_client import Change, Connected, FileError, MessageInvalid, Response, Unreachable, sync, voice
from devtools.ports import free_port
from tests.client.conftest import SAMPLES, Chatbot

anna = partial(sync.connect, client_id="anna", time_zone="Europe/Berlin")


def test_a_conversation_and_its_history(chatbot: Chatbot, tmp_path: Path) -> None:
    changes: list[Change] = []
    with anna(chatbot.url, on_change=changes.append) as chat:
        assert chat.ask("say good luck").text == "good luck"
        assert [reply.text for reply in chat.ask_many(["say 1", "say 2"])] == ["1", "2"]
        assert isinstance(list(chat.stream("say 3"))[-1], Response)
        asked = chat.send(voice(SAMPLES / "hello.mp3"))
        assert "voice note" in asked.reply().text
        assert (asked.done, chat.unanswered, chat.state) == (True, 0, chat_client.State.OPEN)
        assert isinstance(list(asked)[-1], Response)
        assert chat.round_trip_seconds() > 0
        session = chat.session_id
    assert any(isinstance(change, Connected) for change in changes)
    assert session is not None
    deadline = time.monotonic() + 60
    with sync.History(chatbot.history_url) as history:
        assert session in [each.id for each in history.sessions("anna")]
        while len(texts := [message.text for message in history.messages(session)]) < 10:
            assert time.monotonic() < deadline
        assert texts[:2] == ["say good luck", "good luck"]
        said = (message for message in history.messages(session) if message.direction == "request")
        (media,) = (media for message in said for media in message.media)
        history.download(media, tmp_path / "note.mp3")
        assert (tmp_path / "note.mp3").read_bytes() == (SAMPLES / "hello.mp3").read_bytes()
        assert history.rename(session, "luck").title == "luck"
        assert "good luck" in [message.text for message in history.search("anna", "luck")]


def test_errors_are_the_same(chatbot: Chatbot) -> None:
    with anna(chatbot.url) as chat:
        with pytest.raises(MessageInvalid):
            chat.ask("")
        with pytest.raises(FileError):
            chat.ask(voice("none.mp3"))
        replies = chat.ask_many(["", "say a"], return_exceptions=True)
        assert [type(each) for each in replies] == [MessageInvalid, Response]
    with pytest.raises(Unreachable), anna(f"ws://127.0.0.1:{free_port()}"):
        raise AssertionError


def test_a_loop_that_is_left_ends_the_work_behind_it(chatbot: Chatbot) -> None:
    with anna(chatbot.url) as chat:
        replies: Iterator[Response] = chat.ask_many(f"say {number}" for number in range(1000))
        assert next(replies).text == "0"
        del replies
        assert chat.ask("say still here").text == "still here"


def test_an_exception_of_the_block_comes_out_of_it_and_no_thread_is_left(chatbot: Chatbot) -> None:
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), anna(chatbot.url):
        raise ZeroDivisionError
    assert threading.active_count() == before


def test_ctrl_c_takes_the_message_back_and_keeps_the_conversation(chatbot: Chatbot) -> None:
    main = threading.main_thread().ident
    assert main is not None

    def interrupt(sent: int, total: int) -> None:
        if not sent:
            signal.pthread_kill(main, signal.SIGINT)

    with anna(chatbot.url) as chat:
        with pytest.raises(KeyboardInterrupt):
            chat.ask(voice(bytes(10_000_000)), on_sent=interrupt)
        assert chat.ask("say still here").text == "still here"


def test_several_threads_may_ask(chatbot: Chatbot) -> None:
    with anna(chatbot.url) as chat, ThreadPoolExecutor(4) as pool:
        texts = [str(number) for number in range(20)]
        assert [reply.text for reply in pool.map(chat.ask, [f"say {text}" for text in texts])] == texts


@pytest.mark.parametrize("name", ["connect", "Chat", "History", "Asked"])
def test_it_has_what_the_other_has(name: str) -> None:
    there, here = getattr(chat_client, name), getattr(sync, name)
    if name == "connect":
        assert parameters(here) == parameters(there)
        return
    methods = {method for method in vars(there) if not method.startswith("_")}
    assert methods - set(vars(here)) == set()
    for method in methods:
        if callable(getattr(here, method)):
            assert parameters(getattr(here, method)) == parameters(getattr(there, method))


def parameters(function: object) -> list[Parameter]:
    assert callable(function)
    return [each.replace(annotation=Parameter.empty) for each in signature(function).parameters.values()]
