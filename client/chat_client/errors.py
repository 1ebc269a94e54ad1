"""What can go wrong between a client and the chatbot.

    ClientError
    ├── Refused           3   the server said no, and why
    ├── ConnectionLost    5   the connection ended; 3 when the token expired
    ├── Unreachable       5   there is no such server, or it does not answer
    │   └── WrongAnswer   5   something answers that is not the chatbot
    ├── Unanswered        5   a message has no answer, because there is no connection; 3 when the server refuses
    ├── MessageFailed     4   the bot answered a message with an error
    ├── MessageInvalid    2   this is no message: empty, not UTF-8, or too large
    └── FileError       6   a file cannot be read or written here

The number is the exit code of the command. 0 is success, 1 a fault of ours, 2 a wrong command line. `advice` says what
to do.
"""

import json
from typing import Final
from uuid import UUID

from chat_client.denials import DENIAL_ADVICE
from frameproto import FrameError, Response
from frameproto.connection import CloseCode, Reconnect
from frameproto.denials import TEMPORARY_DENIALS, DenialCode

UNAUTHORIZED: Final = 401
SERVER_ERRORS: Final = 500  # the first status of HTTP that is not the client's fault


class ClientError(Exception):
    """The chatbot could not be talked to."""

    exit_code: int = 1
    advice: str = "report it, with the traceback"


class Refused(ClientError):
    """The server refused a request.

    Attributes:
        status: of HTTP.
        code: what it is about, stable; empty when the answer had none.
        detail: the same in a sentence.
        retry_after_seconds: when to come again, if the server said so.
        place: the place in the queue that was reached, where there is one.
        kept_seconds: for how long it is kept for this client, if it is.
        learning_seconds: for how much longer at most the server lets nobody in, because the store of its limits is new
            or was emptied (`limits_learning`).
    """

    exit_code = 3

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        retry_after_seconds: float | None = None,
        place: int | None = None,
        kept_seconds: float | None = None,
        learning_seconds: float | None = None,
    ) -> None:
        where = "" if place is None else f" (place {place} in the queue)"
        pause = retry_after_seconds if learning_seconds is None else learning_seconds
        again = "" if pause is None else f"; try again in {pause:g} s"
        super().__init__(f"refused ({status}{f' {code}' if code else ''}): {detail}{where}{again}")
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds
        self.place = place
        self.kept_seconds = kept_seconds
        self.learning_seconds = learning_seconds
        if code in DENIAL_ADVICE:
            self.advice = DENIAL_ADVICE[code].action
        elif self.is_temporary:
            self.advice = "try again later"
        elif status == UNAUTHORIZED:
            self.advice = "get a fresh token for this client"
        else:
            self.advice = "change what the server objects to, then connect again"

    @classmethod
    def from_problem(cls, status: int, body: bytes, retry_after: str | None) -> "Refused":
        """Read an answer of `application/problem+json`, or of anything else."""
        try:
            problem = json.loads(body)
            code, detail = str(problem["code"]), str(problem.get("detail") or problem.get("title") or "")
            place, kept, learning = (problem.get(name) for name in ("place", "keptSeconds", "seconds"))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            code, detail = "", body[:200].decode("utf-8", "replace").strip() or "no reason was given"
            place = kept = learning = None
        seconds = float(retry_after) if retry_after is not None and retry_after.isdecimal() else None
        return cls(
            status,
            code,
            detail,
            seconds,
            place if isinstance(place, int) else None,
            kept if isinstance(kept, int | float) else None,
            learning if isinstance(learning, int | float) and code == DenialCode.LIMITS_LEARNING else None,
        )

    @property
    def is_temporary(self) -> bool:
        """Whether the same request may succeed later: by its code, or because a proxy on the way had trouble."""
        return self.code in TEMPORARY_DENIALS if self.code else self.status >= SERVER_ERRORS


class Unreachable(ClientError):
    """There is no server, or it does not answer."""

    exit_code = 5
    advice = "check the address, and whether the server is running"


class WrongAnswer(Unreachable):
    """Something answers that is not the chatbot."""

    advice = "check the address: another program answers there, or a proxy in between"


class ConnectionLost(ClientError):
    """The connection ended.

    Attributes:
        code: of the close, 1006 when there was none.
        reconnect: whether, and when, the same client comes again.
        may_reconnect: whether the same client may come again, perhaps after a pause.
        comes_back: whether it should do so by itself: not after a close for want of something to say.
    """

    exit_code = 5

    def __init__(self, code: int, reason: str = "") -> None:
        try:
            known = CloseCode(code)
            meaning, reconnect = known.meaning, known.reconnect
        except ValueError:
            meaning, reconnect = "the server closed the connection", Reconnect.LATER
        super().__init__(f"{meaning} ({code}{f': {reason}' if reason else ''})")
        self.code = code
        self.reconnect = reconnect
        if reconnect is Reconnect.FRESH_TOKEN:  # as with a denial: the same client with the same token is refused
            self.exit_code = Refused.exit_code
        self.may_reconnect = reconnect not in {Reconnect.NEVER, Reconnect.FRESH_TOKEN}
        self.comes_back = reconnect in {Reconnect.AT_ONCE, Reconnect.LATER}
        self.advice = "do not connect again" if reconnect is Reconnect.NEVER else f"connect again {reconnect.value}"


class Unanswered(ClientError):
    """A message has no answer.

    Attributes:
        why: what ended the connection, or keeps it from coming back.
        message_id: of the message.
        maybe_answered: the server may have received the message, and may have answered it.
    """

    def __init__(self, why: ClientError, message_id: UUID, *, maybe_answered: bool) -> None:
        fate = "it may have been answered" if maybe_answered else "it was not sent"
        super().__init__(f"the message has no answer ({fate}): {why}")
        self.why = why
        self.message_id = message_id
        self.maybe_answered = maybe_answered
        self.exit_code = why.exit_code
        self.advice = "look into history before you send it again" if maybe_answered else why.advice


class MessageFailed(ClientError):
    """The bot, or the server in its place, answered a message with an error.

    Attributes:
        code: stable; docs/protocol.md lists those of the server.
        message: for people.
        response: as it came.
    """

    exit_code = 4

    def __init__(self, response: Response) -> None:
        super().__init__(f"{response.error_message} ({response.error_code})")
        self.code = response.error_code
        self.message = response.error_message
        self.response = response
        self.advice = "read what the code stands for in docs/protocol.md: for some, the same message may succeed later"


class MessageInvalid(ClientError, ValueError):
    """This is no message; it was not sent, or the server read no more of it than its size.

    Attributes:
        frame_code: what is wrong, as the protocol calls it.
    """

    exit_code = 2
    advice = "send something else"

    def __init__(self, why: FrameError) -> None:
        super().__init__(f"this is no message: {why}")
        self.frame_code = why.code


class FileError(ClientError):
    """A file cannot be read or written."""

    exit_code = 6
    advice = "check the path, its permissions and the free space"
