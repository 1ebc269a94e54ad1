"""What `./taskw run` says when it is ready: where everything is, and what to type next."""

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from chat_service.settings import ChatSettings
from servicekit.runner import Address
from servicekit.settings import AccessSettings
from servicekit.settings.fields import variable_name
from servicekit.terminal import wants_colour

TOKEN_FILE, HISTORY_TOKEN_FILE = "you.token", "you-history.token"
DEFAULT_AUDIENCE = AccessSettings.model_fields["token_audience"].default
BOLD, DIM, RESET = "\x1b[1m", "\x1b[2m", "\x1b[0m"


def reachable(address: Address) -> Address:
    """Return where a listener is reached from this machine, which is loopback when it listens on every address."""
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here
    return replace(address, host=loopback.get(address.host, address.host))


def welcome(at: Mapping[str, Address], chat: ChatSettings, history: AccessSettings) -> str:
    """Return the lines to print, with client commands that work from here; addresses by the names of listeners."""
    bold, dim, reset = (BOLD, DIM, RESET) if wants_colour(sys.stdout) else ("", "", "")
    client = _client_command()
    asking = [settings for settings in (chat, history) if settings.auth != "none"]
    token = f" --token-file {TOKEN_FILE}" if asking else ""
    apart = len(asking) > 1 and not _takes_tokens_of(history, chat)
    both = "" if apart else f" --history http://{at['history']}"  # one command has one token
    between = _token_of_its_own(history, client) if apart else ""
    history_token = f" --token-file {HISTORY_TOKEN_FILE}" if apart else token
    page = f"  page      http://{at['chat']}/\n" if chat.web else ""
    return f"""
{bold}The chatbot is ready.{reset}

{page}  chat      ws://{at["chat"]}/connect
  history   http://{at["history"]}/v1
  metrics   http://{at["chat-metrics"]}/metrics  http://{at["history-metrics"]}/metrics

{_how_to_get_a_token(asking[0], client) if asking else "In a second terminal, talk to it:"}

  {bold}{client} connect ws://{at["chat"]} --client-id you{both}{token}{reset}

or send one thing, and read it all back:

  {client} send voice ws://{at["chat"]} samples/hello.mp3 --client-id you{token}{between}
  {client} history --client-id you --history http://{at["history"]}{history_token}

{dim}{_speech(chat)}
Ctrl-C stops it; what was said stays in the data folder.{reset}
"""


def _speech(chat: ChatSettings) -> str:
    if chat.speech != "off":
        return "Speech in voice notes and videos is recognized."
    return "To have speech recognized: ./taskw setup:speech, then CHAT_SPEECH=embedded ./taskw run"


def _takes_tokens_of(one: AccessSettings, other: AccessSettings) -> bool:
    """Say whether a service takes every token that can be made for the other one."""
    same = ("token_audience", "token_issuer", "token_jwks_url", "token_jwks_file")
    secrets = {secret.get_secret_value() for secret in one.token_secrets}
    return all(secret.get_secret_value() in secrets for secret in other.token_secrets) and all(
        getattr(one, name) == getattr(other, name) for name in same
    )


def _how_to_get_a_token(settings: AccessSettings, client: str) -> str:
    if not settings.token_secrets:
        return f"Save a token of your issuer, whose subject is the client id you, as {TOKEN_FILE}, and talk to it:"
    return f"""In a second terminal, make a token, with a secret of {_secrets(settings)} in CHAT_TOKEN_SECRET:

  {_command_for_a_token(settings, client)} > {TOKEN_FILE}

and talk to it:"""


def _token_of_its_own(history: AccessSettings, client: str) -> str:
    """Return what stands before the commands for history when it takes other tokens than chat."""
    if not history.token_secrets:
        return f"""

History takes tokens of another issuer; save one as {HISTORY_TOKEN_FILE}, and read it back:
"""
    return f"""

History takes other tokens than chat. Make one, with a secret of {_secrets(history)} in CHAT_TOKEN_SECRET:

  {_command_for_a_token(history, client)} > {HISTORY_TOKEN_FILE}"""


def _secrets(settings: AccessSettings) -> str:
    return variable_name(type(settings), "token_secrets")


def _command_for_a_token(settings: AccessSettings, client: str) -> str:
    more = "" if settings.token_audience == DEFAULT_AUDIENCE else f" --audience {shlex.quote(settings.token_audience)}"
    more += "" if settings.token_issuer is None else f" --issuer {shlex.quote(settings.token_issuer)}"
    return f"{client} token --client-id you --lifetime 8h{more}"


def _client_command() -> str:
    """Return how to call the client of this environment, as short as it works from the current folder."""
    beside = Path(sys.executable).with_name("chat-client")
    if not beside.exists():
        return "chat-client"
    relative = os.path.relpath(beside)
    return shlex.quote(relative if not relative.startswith("..") else str(beside))
