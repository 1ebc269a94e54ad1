"""What the command says about errors: the other service, the option that is missing."""

import pytest

from chat_client import ClientError, ConnectionLost, Refused
from chat_client.cli.advice import advised
from chat_client.denials import DENIAL_ADVICE
from frameproto.connection import CloseCode
from tests.client.conftest import Chatbot, Cli


def test_the_other_service_is_told(chatbot: Chatbot, cli: Cli) -> None:
    wrong = chatbot.history_url.replace("http", "ws")
    for words in (["connect", wrong], ["send", "text", wrong, "hello"]):
        done = cli(*words, "--client-id", "anna", "--time-zone", "UTC")
        assert done.returncode == 3
        assert f"{wrong} is the history service; the chat service has another address" in done.stderr
    read = cli("sessions", "--client-id", "anna", "--history", chatbot.url.replace("ws", "http"))
    assert read.returncode == 3
    assert f"is the chat service, not history; history is at {chatbot.history_url}, say --history" in read.stderr
    learned = cli("sessions", "--client-id", "anna", CHAT_URL=wrong)
    assert learned.returncode == 5
    assert "is the history service, not chat" in learned.stderr


@pytest.mark.parametrize(
    ("exc", "said"),
    [
        (Refused(401, "token_invalid", "no"), "refused (401 token_invalid): no; get a token from the right issuer"),
        (
            Refused(401, "token_missing", "give it by --token-file"),
            "refused (401 token_missing): give it by --token-file",
        ),
        (Refused(503, "draining", "no", 2.0), "refused (503 draining): no; try again in 2 s"),
        (Refused(503, "line_full", "no"), "refused (503 line_full): no; try again later"),
        (
            Refused(400, "time_zone_missing", "no"),
            "refused (400 time_zone_missing): no; say where you are (--time-zone)",
        ),
        (Refused(418, "teapot", "no"), "refused (418 teapot): no"),
        (ConnectionLost(CloseCode.TOKEN_EXPIRED), "the token has expired (4003); get a fresh token"),
        (ConnectionLost(CloseCode.ABNORMAL), "the connection broke (1006)"),
    ],
)
def test_what_to_do_is_said_once(exc: ClientError, said: str) -> None:
    assert advised(exc).startswith(said)
    assert advised(exc).count("--token-file") <= 1


def test_a_program_is_told_the_same_as_a_person() -> None:
    refused = Refused(403, "client_not_yours", "no")
    assert refused.advice == DENIAL_ADVICE["client_not_yours"].action
    assert f"; {refused.advice} (--client-id)" in advised(refused)
