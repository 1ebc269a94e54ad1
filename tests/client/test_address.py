"""The address of a chatbot: its forms, and what is none."""

import pytest

from chat_client import Unreachable
from chat_client.address import connect_address, http_address


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("ws://127.0.0.1:8000", "ws://127.0.0.1:8000/connect"),
        ("wss://chat.example", "wss://chat.example/connect"),
        ("http://chat.example:8000/", "ws://chat.example:8000/connect"),
        ("https://chat.example", "wss://chat.example/connect"),
        ("WSS://chat.example", "wss://chat.example/connect"),
        ("127.0.0.1:8000", "ws://127.0.0.1:8000/connect"),
        ("localhost", "ws://localhost/connect"),
        ("[::1]:8000", "ws://[::1]:8000/connect"),
        ("ws://127.0.0.1:8000/connect", "ws://127.0.0.1:8000/connect"),
        ("ws://127.0.0.1:8000/connect/", "ws://127.0.0.1:8000/connect"),
        ("wss://chat.example/bot", "wss://chat.example/bot/connect"),
        ("wss://chat.example/connect?clientId=x#y", "wss://chat.example/connect"),
    ],
)
def test_an_address_has_several_forms(given: str, used: str) -> None:
    assert connect_address(given) == used


@pytest.mark.parametrize(
    "given",
    ["", "::::", "ws://", "ftp://chat.example", "ws://chat.example:port", "ws://chat.example:99999", "ws://[::1"],
)
def test_what_is_no_address_is_told(given: str) -> None:
    with pytest.raises(Unreachable, match="is not the address of a chatbot"):
        connect_address(given)


def test_history_and_descriptions_are_asked_for_over_http() -> None:
    assert http_address("ws://chat.example:8000/connect") == "http://chat.example:8000"
    assert http_address("wss://chat.example") == "https://chat.example"
