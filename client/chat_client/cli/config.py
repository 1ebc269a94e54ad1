"""`chat-client config`: what you would say with every command, kept in a file."""

import os
import tomllib
from pathlib import Path
from typing import Any, Final

import click

VARIABLE: Final = "CHAT_CONFIG"
EPILOG: Final = """\b
For example:
  chat-client config set url wss://chat.example
  chat-client config set client-id anna
"""
PARAMETERS: Final = {
    "url": "url",
    "client-id": "client_id",
    "time-zone": "time_zone",
    "history": "history_url",
    "token-file": "token",
    "save-to": "save_to",
}
"""The names in the file, and the parameters of commands that they stand for."""


class _ConfigUnreadable(click.ClickException):
    exit_code = 2


def config_file() -> Path:
    """Return where the file is; CHAT_CONFIG names another one."""
    given = os.environ.get(VARIABLE, "").strip()
    return Path(given) if given else Path(click.get_app_dir("chat-client")) / "config.toml"


def read_config() -> dict[str, str]:
    """Return what the file says; nothing when there is none.

    Raises:
        click.ClickException: it cannot be read, or says something that nobody knows.
    """
    file = config_file()
    try:
        content = tomllib.loads(file.read_text("utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as exc:
        raise _ConfigUnreadable(f"{file} cannot be read: {exc}") from exc
    for name, value in content.items():
        if name not in PARAMETERS or not isinstance(value, str):
            known = ", ".join(PARAMETERS)
            raise _ConfigUnreadable(f'{file}: "{name}" is not known, or not a text; these are known: {known}')
    return content


def defaults() -> dict[str, Any]:
    """Return the defaults of the parameters of all commands."""
    return {PARAMETERS[name]: value for name, value in read_config().items()}


@click.group(
    epilog="\b\nFor example:\n  chat-client config set url wss://chat.example\n  chat-client config set client-id anna"
)
def config() -> None:
    """Store defaults of options: address, client id, time zone.

    Options on the command line and variables override them.
    """


@config.command()
def show() -> None:
    """Print the stored defaults."""
    for name, value in read_config().items():
        click.echo(f"{name} = {_quoted(value)}")


@config.command()
def path() -> None:
    """Print the path of the file."""
    click.echo(str(config_file()))


@config.command("set")
@click.argument("name", type=click.Choice(list(PARAMETERS)))
@click.argument("value")
def set_(name: str, value: str) -> None:
    """Store VALUE as the default of NAME."""
    _write({**read_config(), name: value})


@config.command()
@click.argument("name", type=click.Choice(list(PARAMETERS)))
def unset(name: str) -> None:
    """Remove the default of NAME."""
    _write({known: value for known, value in read_config().items() if known != name})


def _write(content: dict[str, str]) -> None:
    file = config_file()
    new = file.with_name(f".{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        new.write_text("".join(f"{name} = {_quoted(value)}\n" for name, value in content.items()), "utf-8")
        new.replace(file)
    except OSError as exc:
        raise _ConfigUnreadable(f"{file} cannot be written: {exc.strerror}") from exc


def _quoted(value: str) -> str:
    escaped = "".join(f"\\u{ord(c):04x}" if c < " " or c in '"\\\x7f' else c for c in value)
    return f'"{escaped}"'
