"""`chat-client doctor`: what keeps this machine from talking to the chatbot, and what to do about it."""

from typing import Any, Final

import click

from chat_client.cli import options as option
from chat_client.cli.checks import Checks, Finding, Level
from chat_client.cli.output import answers, print_json, printable, run
from chat_client.cli.wrapping import print_hanging
from chat_client.zone import LocalZone, local_zone

STYLES: Final = {Level.OK: "green", Level.NOTE: "yellow", Level.ERROR: "bold red"}
WIDTH: Final = max(map(len, Level))
EPILOG: Final = """\b
For example:
  chat-client doctor wss://chat.example --client-id anna --token-file anna.token

\b
Exit codes: 0 nothing is in the way (notes may be there), else that of the first trouble, as of all commands.
"""


@click.command(epilog=EPILOG)
@option.options(
    option.address,
    option.client_id,
    click.option(
        "--time-zone",
        type=option.TEXT,
        envvar="CHAT_TIME_ZONE",
        show_envvar=True,
        help="Your time zone: Europe/Berlin, +07:00.  [default: the zone of this machine]",
    ),
    option.token,
    option.history_of_chat,
    option.as_json,
)
def doctor(*, time_zone: str | None, as_json: bool, **rest: Any) -> None:  # noqa: ANN401 - passed on as they are
    """Check the connection to the chatbot at URL, and say how to fix what is wrong.

    It looks at the address, the proxy, the service, your clock, time zone and token, whether you would be let in, how
    long a message takes, and history. It connects for a moment, and sends nothing.
    """
    zone = local_zone() if time_zone is None else LocalZone(time_zone)
    run(_doctor(Checks(zone=zone, **rest), as_json=as_json))


async def _doctor(checks: Checks, *, as_json: bool) -> int:
    code = 0
    async for finding in checks.run():
        if finding.level is Level.ERROR:
            code = code or finding.exit_code
        if as_json:
            print_json(
                {"check": finding.check, "status": finding.level, "detail": finding.said, "advice": finding.advice}
            )
        else:
            _show(finding)
    return code


def _show(finding: Finding) -> None:
    head = f"[{STYLES[finding.level]}]{finding.level:{WIDTH}}[/]  {finding.check:9}  "
    print_hanging(answers(), head, printable(finding.said))
    if finding.advice:
        print_hanging(answers(), " " * (WIDTH + 9 + 4), printable(finding.advice))
