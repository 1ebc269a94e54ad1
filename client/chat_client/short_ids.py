"""Ids that are shortened to their beginning, as long as only one begins so."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self
from uuid import UUID

from chat_client.errors import ClientError
from chat_client.history import History
from chat_client.history_records import MESSAGE_ID, Message, Session
from frameproto.connection import parse_uuid
from frameproto.history import DIRECTIONS

LEAST_DIGITS: Final = 4
HEX_DIGITS: Final = 32
TIME_DIGITS: Final = 12  # of a UUIDv7: milliseconds since 1970
LATE: Final = timedelta(days=1)  # so much may an exchange be older than its session, when it was delivered late
SHORT: Final = re.compile(rf"([0-9a-f-]+)(?:\.({DIRECTIONS}))?")


class AmbiguousId(ClientError):
    """No id, or more than one, begins with what was given."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class ShortId:
    """The beginning of an id.

    Attributes:
        digits: hexadecimal, without hyphens.
        direction: of a message, where it was given.
    """

    digits: str
    direction: str | None = None

    @classmethod
    def parse(cls, given: str) -> Self:
        """Read the beginning of an id.

        Raises:
            ValueError: no id begins so, or it is too short to look for.
        """
        found = SHORT.fullmatch(given.strip().lower())
        digits = found[1].replace("-", "") if found else ""
        if found is None or not LEAST_DIGITS <= len(digits) <= HEX_DIGITS:
            raise ValueError(f"an id begins with at least {LEAST_DIGITS} of 0-9 a-f")
        return cls(digits, found[2])

    @property
    def lowest(self) -> UUID:
        """The first id that begins so."""
        return UUID(self.digits.ljust(HEX_DIGITS, "0"))

    @property
    def highest(self) -> UUID:
        """The last id that begins so."""
        return UUID(self.digits.ljust(HEX_DIGITS, "f"))

    def begins(self, id_: UUID | str) -> bool:
        """Say whether the id of a session or message begins so."""
        digits, _, direction = str(id_).partition(".")
        return digits.replace("-", "").startswith(self.digits) and self.direction in {None, direction}


async def find_session(history: History, client_id: str, given: str) -> UUID:
    """Return the session of a client whose id is given, or begins so. A whole id is not looked for.

    Raises:
        AmbiguousId: there is none, or more than one.
        ClientError: the service cannot be asked, or refuses.
    """
    try:
        return parse_uuid(given)
    except ValueError:
        short = _parse(given)
    found = [str(session.id) async for session in history.sessions(client_id) if short.begins(session.id)]
    return UUID(_only(found, given, f"session of {client_id}"))


async def find_message(history: History, client_id: str, given: str) -> str:
    """Return the message of a client whose id is given, or begins so. A whole id is not looked for.

    Raises:
        AmbiguousId: there is none, or more than one.
        ClientError: the service cannot be asked, or refuses.
    """
    if MESSAGE_ID.fullmatch(given):
        return given
    short = _parse(given)
    found: list[str] = []
    async for session in history.sessions(client_id):
        if len(found) < 2 and _may_hold(session, short):  # noqa: PLR2004 - two are unclear already
            found += [message.id for message in await _messages_of(history, session, short)]
    return _only(found, given, f"message of {client_id}")


def _parse(given: str) -> ShortId:
    try:
        return ShortId.parse(given)
    except ValueError as exc:
        raise AmbiguousId(f'"{given[:60]}" is no id: {exc}') from exc


async def _messages_of(history: History, session: Session, short: ShortId) -> list[Message]:
    """Return the first messages of a session whose ids begin so."""
    before = UUID(int=max(short.lowest.int - 1, 0))
    page = await history.messages_after(session.id, f"{before}.reply", limit=4)
    return [message for message in page if short.begins(message.id)]


def _may_hold(session: Session, short: ShortId) -> bool:
    """Say whether a message with such an id may be in a session, by the time that ids begin with."""
    first, last = _moment(short.lowest), _moment(short.highest)
    return session.started_at - LATE <= last and (session.last_message_at or session.started_at) >= first


def _moment(id_: UUID) -> datetime:
    milliseconds = int(id_.hex[:TIME_DIGITS], 16)
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def _only(found: list[str], given: str, what: str) -> str:
    if not found:
        raise AmbiguousId(f'no {what} begins with "{given}"')
    if len(found) > 1:
        more = ", …" if len(found) > 3 else ""  # noqa: PLR2004 - enough to see where they differ
        raise AmbiguousId(f'more than one {what} begins with "{given}": {", ".join(found[:3])}{more}')
    return found[0]
