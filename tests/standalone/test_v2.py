"""`chatbot.v2` of a whole chatbot, with tokens: what was answered is not answered anew, and a session goes on."""

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.request import Request as HttpRequest
from urllib.request import urlopen
from uuid import UUID, uuid4

import pytest
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from devtools.processes import ServiceProcess, running
from frameproto import Request, RequestKind, Response
from frameproto.connection import SUBPROTOCOL_V2
from frameproto.v2 import MessageRequest, MessageResponse, decode_server_frame, encode_client_frame
from servicekit.tokens import mint

SECRET = "a secret of at least thirty-two bytes"
TOKEN = mint(SECRET, subject="anna", audience="chatbot", lifetime=timedelta(hours=1))
SECONDS = 30.0


def dial(service: ServiceProcess, session: UUID) -> ClientConnection:
    port = service.ports["chat"]
    return connect(
        f"ws://127.0.0.1:{port}/connect?clientId=anna&timeZone=UTC&sessionId={session}",
        subprotocols=[Subprotocol(SUBPROTOCOL_V2)],
        additional_headers={"Authorization": f"Bearer {TOKEN}"},
    )


def ask(chat: ClientConnection, text: str, message_id: UUID, *, again: bool = False) -> Response:
    request = Request(RequestKind.TEXT, text.encode())
    chat.send(encode_client_frame(MessageRequest(message_id, request, again)))
    while True:
        frame = chat.recv(timeout=SECONDS)
        assert isinstance(frame, bytes)
        told = decode_server_frame(frame)
        if isinstance(told, MessageResponse):
            assert told.message_id == message_id
            return told.response


def messages(service: ServiceProcess, session: UUID, count: int) -> list[dict[str, Any]]:
    """Wait until history has so many messages of the session, and return them."""
    url = f"http://127.0.0.1:{service.ports['history']}/v1/sessions/{session}/messages"
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            with urlopen(HttpRequest(url, headers={"Authorization": f"Bearer {TOKEN}"}), timeout=SECONDS) as answer:
                found = json.load(answer)["messages"]
        except OSError:
            found = []
        if len(found) >= count:
            return list(found)
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def counted(service: ServiceProcess, source: str) -> float:
    with urlopen(f"http://127.0.0.1:{service.ports['chat-metrics']}/metrics", timeout=SECONDS) as answer:
        lines = answer.read().decode().splitlines()
    name = f'chatbot_messages_again_total{{source="{source}"}} '
    return next(float(line.removeprefix(name)) for line in lines if line.startswith(name))


@pytest.mark.parametrize("auth", ["jwt", "none"])
def test_a_message_sent_again_gets_its_answer_from_history_and_the_bot_remembers(
    tmp_path: Path, settings: dict[str, object], auth: str
) -> None:
    tokens = {"CHAT_TOKEN_SECRETS": SECRET, "HISTORY_TOKEN_SECRETS": SECRET} if auth == "jwt" else {}
    session, first = uuid4(), uuid4()
    with running(
        "standalone", tmp_path / "log", {**settings, **tokens, "CHAT_AUTH": auth, "HISTORY_AUTH": auth}
    ) as service:
        with dial(service, session) as chat:
            answer = ask(chat, "my name is Anna", first)
        (asked, replied) = messages(service, session, 2)
        assert (asked["message_id"], replied["text"]) == (str(first), answer.text)
        with dial(service, session) as chat:
            assert ask(chat, "my name is Anna", first, again=True) == answer
            assert (counted(service, "history"), counted(service, "turn")) == (1, 0)
            assert messages(service, session, 2) == [asked, replied]
            assert ask(chat, "what did I say", uuid4()).text == "You said: my name is Anna"
        assert len(messages(service, session, 4)) == 4
        assert not [event for event in service.events() if event.get("level") in {"warning", "error"}]
        assert service.stop() == 0
