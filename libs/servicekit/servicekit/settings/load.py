"""The first step of a program: it reads its settings, or reports errors and exits."""

import os
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import NoReturn, TypeVar, overload

from dotenv import dotenv_values
from pydantic import ValidationError

from servicekit.settings.base import ServiceSettings
from servicekit.settings.errors import error_lines, warnings_about
from servicekit.settings.help_page import help_page
from servicekit.terminal import replace_unencodable, wants_colour

EXIT_USAGE = 2

A = TypeVar("A", bound=ServiceSettings)
B = TypeVar("B", bound=ServiceSettings)
C = TypeVar("C", bound=ServiceSettings)


def load(
    cls: type[A], argv: Sequence[str] | None = None, *, prog: str, description: str, version: str | None = None
) -> A:
    """Read the settings of a program, or report errors and exit.

    A line ending at the end of a variable is not part of its value.

    Args:
        cls: the settings to read.
        argv: the arguments of the program without its name; `sys.argv[1:]` when absent. Only `--help` (`-h`) and
            `--version` are known.
        prog: the command, such as `python -m chat_service`.
        description: what it does, in a sentence or two, for `--help`.
        version: what `--version` prints; the version of this workspace when absent.

    Raises:
        SystemExit: 0 after `--help` and `--version`, 2 when an argument or a setting is wrong.
    """
    _answer_arguments((cls,), argv, prog, description, version)
    _drop_line_endings()
    wrong: list[str] = []
    settings = _read(cls, wrong)
    if settings is None or wrong:
        _leave(prog, wrong)
    return settings


@overload
def load_all(
    classes: tuple[type[A], type[B]],
    argv: Sequence[str] | None = ...,
    *,
    prog: str,
    description: str,
    version: str | None = ...,
) -> tuple[A, B]: ...
@overload
def load_all(
    classes: tuple[type[A], type[B], type[C]],
    argv: Sequence[str] | None = ...,
    *,
    prog: str,
    description: str,
    version: str | None = ...,
) -> tuple[A, B, C]: ...
def load_all(
    classes: tuple[type[ServiceSettings], ...],
    argv: Sequence[str] | None = None,
    *,
    prog: str,
    description: str,
    version: str | None = None,
) -> tuple[ServiceSettings, ...]:
    """Do the same as `load` for a program made of several services: one help page, all errors at once."""
    _answer_arguments(classes, argv, prog, description, version)
    _drop_line_endings()
    wrong: list[str] = []
    settings = [_read(cls, wrong) for cls in classes]
    if wrong:
        _leave(prog, wrong)
    return tuple(one for one in settings if one is not None)


def _drop_line_endings() -> None:
    """Strip a line ending from the end of every variable.

    A file has one after its last line, and `kubectl create secret --from-file` keeps it. Variables of libraries, such
    as AWS_SECRET_ACCESS_KEY, come from the same files, so the environment itself is changed.
    """
    for name, value in os.environ.items():
        if value.endswith("\n"):
            os.environ[name] = value.removesuffix("\n").removesuffix("\r")


def _answer_arguments(
    classes: Sequence[type[ServiceSettings]],
    argv: Sequence[str] | None,
    prog: str,
    description: str,
    version: str | None,
) -> None:
    replace_unencodable()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if {"--help", "-h"} & set(arguments):
        sys.stdout.write(help_page(classes, prog, description, colour=wants_colour(sys.stdout)))
        raise SystemExit(0)
    if "--version" in arguments:
        sys.stdout.write(f"{prog} {version or metadata.version('chatbot-servicekit')}\n")
        raise SystemExit(0)
    if arguments:
        sys.stderr.write(f'{prog}: unknown argument "{arguments[0]}": settings are environment variables, see --help\n')
        raise SystemExit(EXIT_USAGE)


def _read(cls: type[A], wrong: list[str]) -> A | None:
    file = cls.model_config.get("env_file")
    try:
        in_file = dotenv_values(file) if isinstance(file, str) else {}
    except UnicodeDecodeError:
        _add_once(wrong, f"{file}: must be text in UTF-8")
        return None
    except OSError as exc:
        advice = "make it readable, or start in another folder; every setting can be an environment variable instead"
        _add_once(wrong, f"{Path.cwd() / str(file)}: cannot be read: {exc.strerror} ({advice})")
        return None
    variables = {name: value or "" for name, value in {**in_file, **os.environ}.items()}
    for line in warnings_about(cls, variables):
        sys.stderr.write(f"warning: {line}\n")
    try:
        return cls()
    except ValidationError as exc:
        wrong += error_lines(cls, exc)
    return None


def _add_once(lines: list[str], line: str) -> None:
    """Add what several services would say of the same file."""
    if line not in lines:
        lines.append(line)


def _leave(prog: str, wrong: Sequence[str]) -> NoReturn:
    for line in [*wrong, f"{prog}: cannot start with these settings; see --help"]:
        sys.stderr.write(f"{line}\n")
    raise SystemExit(EXIT_USAGE)
