"""What can go wrong between a client and the chatbot.

    ClientError
    ├── Refused           3   the server said no, and why
    ├── ConnectionLost    5   the connection ended before everything was answered; 3 when the token expired
    ├── Unreachable       5   there is no such server, or it does not answer
    │   └── WrongAnswer   5   something answers that is not the chatbot
    └── FileTrouble       6   a file cannot be read or written here

The number is the exit code of the command. 0 is success, 1 a fault of ours, 2 a wrong command line, and 4 a message
that the bot answered with an error.
"""

import json

from frameproto.connection import CloseCode, Reconnect


class ClientError(Exception):
    """The chatbot could not be talked to."""

    exit_code: int = 1


class Refused(ClientError):
    """The server refused a request.

    Attributes:
        status: of HTTP.
        code: what it is about, stable; empty when the answer had none.
        detail: the same in a sentence.
        retry_after_seconds: when to come again, if the server said so.
    """

    exit_code = 3

    def __init__(self, status: int, code: str, detail: str, retry_after_seconds: float | None = None) -> None:
        again = "" if retry_after_seconds is None else f"; try again in {retry_after_seconds:g} s"
        super().__init__(f"refused ({status}{f' {code}' if code else ''}): {detail}{again}")
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds

    @classmethod
    def from_problem(cls, status: int, body: bytes, retry_after: str | None) -> "Refused":
        """Read an answer of `application/problem+json`, or of anything else."""
        try:
            problem = json.loads(body)
            code, detail = str(problem["code"]), str(problem.get("detail") or problem.get("title") or "")
            place = problem.get("place")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            code, detail, place = "", body[:200].decode("utf-8", "replace").strip() or "no reason was given", None
        if isinstance(place, int):
            detail += f" (place {place} in line)"
        seconds = float(retry_after) if retry_after is not None and retry_after.isdecimal() else None
        return cls(status, code, detail, seconds)


class Unreachable(ClientError):
    """There is no server, or it does not answer."""

    exit_code = 5


class WrongAnswer(Unreachable):
    """Something answers that is not the chatbot."""


class ConnectionLost(ClientError):
    """The connection ended.

    Attributes:
        code: of the close, 1006 when there was none.
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
        if reconnect is Reconnect.FRESH_TOKEN:  # as with a denial: the same client with the same token is refused
            self.exit_code = Refused.exit_code
        self.may_reconnect = reconnect not in {Reconnect.NEVER, Reconnect.FRESH_TOKEN}
        self.comes_back = reconnect in {Reconnect.AT_ONCE, Reconnect.LATER}


class FileTrouble(ClientError):
    """A file cannot be read or written."""

    exit_code = 6
