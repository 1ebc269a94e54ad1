"""The only place that knows redis-py: a connection of our own, and its errors turned into one of ours.

A pool does not borrow connections: its calls must arrive in order, a call that is repeated must go out under a new
connection generation, and nothing may be repeated behind its back. So it makes one connection with the settings of the
client that it was given (address, TLS, credentials, database), keeps it, and bounds all waiting by its own time-outs.
Commands are encoded by hiredis: what a busy pod sends in one call has hundreds of words.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Protocol, TypeVar

from hiredis import pack_command
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import MovedError, RedisError

from permits.redis.clients import Client, new_connection
from permits.redis.hints import with_hint
from permits.redis.scripts import LuaScript

T = TypeVar("T")
Word = str | int
Reply = Any


class StoreLost(Exception):
    """The store gave no answer, or none that we understand. Its message says what happened."""


class RedisConnection(Protocol):
    """What we use of redis-py's connection."""

    retry: Retry
    socket_timeout: float | None

    async def connect(self) -> None:
        """Open the socket and say hello."""

    async def disconnect(self, *, nowait: bool = False) -> None:
        """Close the socket."""

    async def send_packed_command(self, command: Sequence[bytes], *, check_health: bool = True) -> None:
        """Write commands."""

    async def read_response(
        self, *, disable_decoding: bool = False, disconnect_on_error: bool = True, push_request: bool = False
    ) -> Reply:
        """Read one reply."""


async def open_connection(redis: Client, key: str) -> RedisConnection:
    """Open a connection that belongs to the caller.

    Args:
        redis: a client whose settings are used.
        key: one of the pool, which tells in a cluster where to connect to.

    Raises:
        StoreLost: it cannot be opened.
    """
    connection: RedisConnection = await _ask_user(new_connection(redis, key))
    connection.retry = Retry(NoBackoff(), 0)  # the caller tries again, and says so to the store
    connection.socket_timeout = None  # the caller bounds the wait, once for a whole turn
    try:
        await _ask_user(connection.connect())
    except BaseException:
        await close_connection(connection)
        raise
    return connection


async def _ask_user(work: Awaitable[T]) -> T:
    """Await what may call code of the user, such as a credential provider.

    That code may raise anything. If it raises a cancellation that nobody asked for, that does not end the caller; if it
    swallows one, the caller is cancelled all the same.

    Raises:
        StoreLost: it has failed.
    """
    try:
        result = await work
    except (Exception, asyncio.CancelledError, BaseExceptionGroup) as exc:
        if _is_cancelled():
            raise asyncio.CancelledError from exc
        raise StoreLost(with_hint(str(exc)) or type(exc).__name__) from exc
    if _is_cancelled():
        raise asyncio.CancelledError
    return result


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def close_connection(connection: RedisConnection) -> None:
    """Close a connection at once, whatever state it is in."""
    try:
        await connection.disconnect(nowait=True)
    except (RedisError, OSError):
        return


def _encode(words: Sequence[Word]) -> bytes:
    """Return words as a command has them, behind the line that says how many there are."""
    encode: Any = pack_command  # by its stub it takes one word, in truth any number
    return bytes(encode(tuple(words))).partition(b"\n")[2]


class CommandHead:
    """The words with which many commands begin, encoded once: that is most of what it costs to encode a command.

    Attributes:
        words: the words themselves.
    """

    def __init__(self, *words: Word) -> None:
        self.words = words
        self._encoded = _encode(words)

    def encode(self, others: Sequence[Word]) -> bytes:
        """Return the command that goes on with these words."""
        return b"*%d\r\n%b%b" % (len(self.words) + len(others), self._encoded, _encode(others))


Command = tuple[CommandHead, Sequence[Word]]
"""How it begins, and how it goes on."""

_LOAD = CommandHead("SCRIPT", "LOAD")


class Channel:
    """The pod's way to the store: one connection at a time, each with a higher generation than the one before.

    Args:
        redis: a client whose settings are used for the connection.
        scripts: loaded into the store whenever a connection is made.
        key: one of the pool.
        lead: commands that go in front of each write; their replies are dropped.
    """

    def __init__(self, redis: Client, scripts: Sequence[LuaScript], key: str, *, lead: Sequence[Command] = ()) -> None:
        self._redis = redis
        self._lead = [head.encode(words) for head, words in lead]
        self._key = key
        self._scripts = scripts
        self._redis_connection: RedisConnection | None = None
        self.generation = 0

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as we know."""
        return self._redis_connection is not None

    async def connect(self) -> None:
        """Make sure that there is a connection and that the store has the scripts.

        Raises:
            StoreLost: there is none to be had.
        """
        if self._redis_connection is None:
            self._redis_connection = await open_connection(self._redis, self._key)
            self.generation += 1
            await self.exchange([(_LOAD, (script.text,)) for script in self._scripts])

    async def exchange(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands and return their replies. Raises as `send` and `receive`."""
        await self.send(commands)
        return await self.receive(len(commands))

    async def send(self, commands: Sequence[Command]) -> None:
        """Send commands in one write. Whatever goes wrong ends the connection.

        Raises:
            StoreLost: not every command was sent; each of them may have been carried out or not.
        """
        try:
            encoded = [*self._lead, *[head.encode(words) for head, words in commands]]
            await self._connection().send_packed_command(encoded, check_health=False)
        except BaseException as exc:
            await self._give_up(exc)
            raise

    async def receive(self, count: int) -> list[Reply]:
        """Return the replies to the next so many commands that were sent. Whatever goes wrong ends the connection.

        Raises:
            StoreLost: not every command was answered well; each of them may have been carried out or not.
        """
        try:
            connection = self._connection()
            for _ in self._lead:
                await connection.read_response(disable_decoding=True)
            return [await connection.read_response(disable_decoding=True) for _ in range(count)]
        except BaseException as exc:
            await self._give_up(exc)
            raise

    def _connection(self) -> RedisConnection:
        if self._redis_connection is None:
            raise StoreLost("not connected")
        return self._redis_connection

    async def _give_up(self, error: BaseException) -> None:
        await self.close()
        if isinstance(error, MovedError):
            raise StoreLost(
                f"{error.host}:{error.port} keeps this pool now; a RedisCluster client goes there"
            ) from error
        if isinstance(error, RedisError | OSError):
            raise StoreLost(with_hint(str(error))) from error

    async def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._redis_connection = self._redis_connection, None
        if connection is not None:
            await close_connection(connection)


class Subscription:
    """One connection that listens to one channel."""

    def __init__(self, redis: Client, channel: str) -> None:
        self._redis = redis
        self._channel = channel
        self._redis_connection: RedisConnection | None = None

    async def open(self) -> None:
        """Connect and subscribe.

        Raises:
            StoreLost: it cannot be done.
        """
        self._redis_connection = await open_connection(self._redis, self._channel)
        await self._say("SUBSCRIBE", self._channel)
        await self.next()

    async def ping(self) -> None:
        """Ask for a sign of life; `next` returns it.

        Raises:
            StoreLost: the connection is broken.
        """
        await self._say("PING")

    async def next(self) -> bytes | None:
        """Return the next message; None for any other sign of life. May be cancelled without loss.

        Raises:
            StoreLost: the connection is broken.
        """
        if self._redis_connection is None:
            raise StoreLost("not subscribed")
        try:
            reply = await self._redis_connection.read_response(
                disable_decoding=True, disconnect_on_error=False, push_request=True
            )
        except (RedisError, OSError) as exc:
            raise StoreLost(str(exc)) from exc
        match reply:
            case [b"message", _, bytes(message)]:
                return message
            case _:
                return None

    async def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._redis_connection = self._redis_connection, None
        if connection is not None:
            await close_connection(connection)

    async def _say(self, *words: Word) -> None:
        if self._redis_connection is not None:
            try:
                await self._redis_connection.send_packed_command([CommandHead(*words).encode(())], check_health=False)
            except (RedisError, OSError) as exc:
                raise StoreLost(str(exc)) from exc
