"""Options that several commands share."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import click
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from permits.redis.clients import Client
from permits.redis.keys import DEFAULT_PREFIX, keys_of
from permits.redis.operator import in_cluster

ANSWER_SECONDS: Final = 5.0
ADDRESS_FORM: Final = (
    "must be an address such as redis://host:6379/0, rediss:// for TLS, or unix:///path/to/socket?db=0"
)

URL_SETTINGS: Final = ("PERMITS_REDIS_URL", "CHAT_REDIS_URL")
"""Each setting also has the name that the chat service knows it by."""
PASSWORD_SETTINGS: Final = ("PERMITS_REDIS_PASSWORD", "CHAT_REDIS_PASSWORD")
PREFIX_SETTINGS: Final = ("PERMITS_PREFIX", "CHAT_PERMITS_PREFIX")

Command = Callable[..., Any]


class Utf8(click.ParamType[str]):
    """Text in UTF-8, also under a POSIX locale, where Python passes its bytes as surrogates."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text, or fail for bytes that are not UTF-8."""
        try:
            return value.encode(errors="surrogateescape").decode()
        except UnicodeError:
            self.fail("is not UTF-8", param, ctx)


TEXT: Final = Utf8()


def _pool_name(_context: click.Context, _argument: click.Parameter, name: str | None) -> str | None:
    try:
        if name is not None:
            keys_of(name)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from exc
    return name


def _pod_name(_context: click.Context, _argument: click.Parameter, name: str) -> str:
    if not name:
        raise click.BadParameter("is empty, which is the beginning of every name")
    return name


def _is_address(parts: SplitResult) -> bool:
    """Say whether redis-py would take an address as it is meant. Raises ValueError for some that it would not."""
    if parts.scheme == "unix":
        return parts.hostname is None and parts.path not in {"", "/"}
    if parts.scheme not in {"redis", "rediss"} or not parts.hostname or parts.port == 0:
        return False
    parts.hostname.encode("idna")
    database = parts.path.strip("/")
    return not database or (database.isascii() and database.isdigit())


def _store(url: str) -> Redis:
    """Return a client without retries and with short time-outs.

    Raises:
        ValueError: it is not the address of a store.
    """
    if not _is_address(urlsplit(url)):
        raise ValueError(ADDRESS_FORM)
    redis = Redis.from_url(
        url,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
        password=_password(),  # a password in the address wins
    )
    redis.connection_pool.connection_kwargs["decode_responses"] = False
    make_connection: Any = redis.connection_pool.make_connection  # it has no type
    make_connection()  # checks the query of the address
    return redis


def _address(_context: click.Context, _option: click.Parameter, url: str) -> str:
    url = url.strip()  # an address read from a file ends in a line feed
    try:
        _store(url)
    except (ValueError, TypeError):
        raise click.BadParameter(ADDRESS_FORM) from None  # the reason may hold the password
    return url


@asynccontextmanager
async def open_store(url: str) -> AsyncIterator[Client]:
    """Open a store for the length of a `with` block; of a cluster, the whole.

    Raises:
        PoolUnavailable: it cannot be asked.
    """
    async with _store(url) as redis:
        if urlsplit(url).scheme == "unix" or not await in_cluster(redis):
            yield redis
            return
    limits = {"socket_timeout": ANSWER_SECONDS, "socket_connect_timeout": ANSWER_SECONDS}
    async with RedisCluster.from_url(url, retry=Retry(NoBackoff(), 1), password=_password(), **limits) as cluster:
        yield cluster


def _password() -> str | None:
    """Return the password that an address may leave out."""
    found = (os.environ.get(name, "").rstrip("\r\n") for name in PASSWORD_SETTINGS)
    return next((password for password in found if password), None)


pool = click.argument("pool", type=TEXT, callback=_pool_name)
any_pool = click.argument("pool", type=TEXT, required=False, callback=_pool_name)
pod = click.argument("pod", type=TEXT, callback=_pod_name)

store = click.option(
    "--redis",
    "url",
    type=TEXT,
    required=True,
    envvar=URL_SETTINGS,
    show_envvar=True,
    metavar="URL",
    callback=_address,
    help="Address of the store: redis://host:6379/0, rediss:// for TLS, or unix:///path/to/socket?db=0. "
    f"{PASSWORD_SETTINGS[0]} may hold the password.",
)


def _prefix_of(_context: click.Context, _option: click.Parameter, prefix: str) -> str:
    try:
        keys_of("pool", prefix)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from exc
    return prefix


prefix = click.option(
    "--prefix",
    default=DEFAULT_PREFIX,
    show_default=True,
    envvar=PREFIX_SETTINGS,
    show_envvar=True,
    callback=_prefix_of,
    help="Prefix of the keys of the pool.",
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line, for other programs.")


def options(*these: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Add options to a command, shown in this order."""

    def add(command: Command) -> Command:
        for option in reversed(these):
            command = option(command)
        return command

    return add
