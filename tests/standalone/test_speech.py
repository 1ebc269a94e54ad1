"""A spoken sentence on its whole way: recognized, answered, found by a search, and exported."""

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import pytest
from websockets.sync.client import connect

from chat_service.media.audio import encode_mp3
from chat_service.media.speech import SpeechSynthesizer
from devtools.processes import ServiceProcess, running
from frameproto import Request, RequestKind, Response, decode_response, encode_request

SECONDS = 60.0


@pytest.fixture
def service(settings: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    heard = {**settings, "CHAT_SPEECH": "embedded", "CHAT_SPEECH_LANGUAGE": "en"}
    with running("standalone", tmp_path_factory.mktemp("speech") / "log", heard) as started:
        yield started


def spoken(text: str) -> bytes:
    speaker = SpeechSynthesizer()
    return encode_mp3(speaker.say(text), sample_rate=speaker.sample_rate)


def send(service: ServiceProcess, kind: RequestKind, body: bytes) -> Response:
    with connect(f"ws://127.0.0.1:{service.ports['chat']}/connect?clientId=anna&timeZone=UTC") as chat:
        chat.send(encode_request(Request(kind, body)))
        answer = chat.recv(timeout=SECONDS)
        assert isinstance(answer, bytes)
        return decode_response(answer)


def history(service: ServiceProcess, path: str) -> str:
    with urlopen(f"http://127.0.0.1:{service.ports['history']}/v1/clients/anna/{path}", timeout=SECONDS) as response:
        text: str = response.read().decode()
        return text


def found(service: ServiceProcess, word: str) -> list[dict[str, Any]]:
    """Search until there is something; a delivery takes a moment."""
    deadline = time.monotonic() + SECONDS
    messages: list[dict[str, Any]] = []
    while not messages and time.monotonic() < deadline:
        messages = json.loads(history(service, f"search?q={word}"))["messages"]
        time.sleep(0.05)
    return messages


@pytest.mark.timeout(240)
def test_a_spoken_sentence_is_recognized_answered_found_and_exported(service: ServiceProcess) -> None:
    reply = send(service, RequestKind.VOICE, spoken("Tell me what day is today, please."))
    assert "Today is" in str(reply.text), "what is spoken is answered as what is written"
    assert bytes(reply.voice).startswith((b"ID3", b"\xff"))
    (message,) = [message for message in found(service, "please") if message["direction"] == "request"]
    assert "please" in message["text"]
    assert message["transcribed"]
    assert message["media"]["voice"]
    exported = [json.loads(line) for line in history(service, "export").splitlines()]
    assert message["text"] in json.dumps(exported, ensure_ascii=False)
