"""`chat-client token`: a token for development."""

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from chat_client.cli import options as option
from chat_client.tokens import CONTEXT_SCOPE, INGEST_SCOPE, mint

SECRET_VARIABLE: Final = "CHAT_TOKEN_SECRET"  # noqa: S105 - the name of a variable
SERVICE: Final = "chat"
LONGEST: Final = timedelta(days=366)
UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
EPILOG: Final = """\b
For example:
  export CHAT_TOKEN_SECRET="$(openssl rand -hex 32)"
  chat-client token --client-id anna --lifetime 8h > anna.token
  chat-client connect ws://127.0.0.1:8000 --client-id anna --token-file anna.token
"""


class Lifetime(click.ParamType[timedelta]):
    """How long something counts: a whole number and one of s, m, h, d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:  # noqa: ANN401
        """Read what was typed."""
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", str(value))
        lifetime = timedelta(**{UNITS[found[2]]: int(found[1])}) if found else timedelta()
        if not timedelta() < lifetime <= LONGEST:
            self.fail(f"{value} is not a duration of up to {LONGEST.days}d, such as 90s, 15m, 8h or 30d", param, ctx)
        return lifetime


@click.command(epilog=EPILOG)
@click.option(
    "--client-id",
    envvar="CHAT_CLIENT_ID",
    show_envvar=True,
    help="The client of the token, which gives access to its conversations and history.",
)
@click.option("--ingest", is_flag=True, help="Make a service token with the scope ingest: it may deliver exchanges.")
@click.option(
    "--context",
    "reads_context",
    is_flag=True,
    help="Make a service token with the scope context: it may read the last messages of any session.",
)
@click.option(
    "--lifetime", type=Lifetime(), default="1h", show_default=True, help="Validity of the token: 90s, 15m, 8h."
)
@click.option(
    "--audience", type=option.TEXT, default="chatbot", show_default=True, help="The audience that the services expect."
)
@click.option("--issuer", type=option.TEXT, help="The issuer that the services expect, if any.")
@click.option(
    "--secret-file",
    type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path),
    help=f"A file with the secret that signs; {SECRET_VARIABLE} by default.",
)
@click.pass_context
def token(
    context: click.Context,
    *,
    client_id: str | None,
    ingest: bool,
    reads_context: bool,
    lifetime: timedelta,
    audience: str,
    issuer: str | None,
    secret_file: Path | None,
) -> None:
    """Print a token for development, signed with a secret of the services.

    The secret comes from a file, or from the variable CHAT_TOKEN_SECRET. Of several, separated by commas, the first one
    signs, so it may be what CHAT_TOKEN_SECRETS and HISTORY_TOKEN_SECRETS are for the services.
    """
    scopes = [scope for scope, wanted in ((INGEST_SCOPE, ingest), (CONTEXT_SCOPE, reads_context)) if wanted]
    if scopes and context.get_parameter_source("client_id") is ParameterSource.COMMANDLINE:
        raise click.UsageError(
            "a token is for a client or for the chat service: give --client-id, or --ingest and --context"
        )
    if not scopes and not client_id:
        raise click.UsageError("whom is the token for? Give --client-id, or --ingest for the chat service")
    try:
        click.echo(
            mint(
                _secret(secret_file),
                subject=SERVICE if scopes else str(client_id),
                audience=audience,
                lifetime=lifetime,
                scope=" ".join(scopes) or None,
                issuer=issuer,
            )
        )
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc


def _secret(file: Path | None) -> str:
    """Return the secret. It is never an argument: everybody on the machine can read those."""
    if file is None:
        given = os.environ.get(SECRET_VARIABLE, "")
        missing = f"set {SECRET_VARIABLE}, or name a file with the secret by --secret-file"
    else:
        missing = f"{file} does not hold a secret"
        try:
            given = file.read_text("utf-8-sig")
        except (OSError, UnicodeError) as exc:
            raise click.UsageError(missing) from exc
    secret = given.partition(",")[0].strip()
    if not secret:
        raise click.UsageError(missing)
    return secret
