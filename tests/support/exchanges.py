"""Exchanges to keep, deliver and read back."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from frameproto import Request, RequestKind, Response, ResponseKind, encode_request, encode_response
from frameproto.exchange import Exchange
from frameproto.kinds import Outcome
from servicekit.uuid7 import uuid7

SESSION = UUID("0197b0c8-0000-7000-8000-00000000000a")
MORNING = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def exchange(
    text: str = "hello",
    *,
    id_: UUID | None = None,
    session_id: UUID = SESSION,
    client_id: str = "anna",
    at: datetime = MORNING,
    request: Request | None = None,
    response: Response | None = None,
    outcome: Outcome = Outcome.ANSWERED,
    transcript: str = "",
    message_id: UUID | None = None,
    attempt: int = 0,
) -> Exchange:
    """An exchange of texts, or of what else is given."""
    return Exchange(
        id=id_ or uuid7(at),
        session_id=session_id,
        client_id=client_id,
        time_zone="Europe/Berlin",
        received_at=at,
        answered_at=at + timedelta(milliseconds=20),
        outcome=outcome,
        request=encode_request(request or Request(RequestKind.TEXT, text.encode())),
        response=encode_response(response or Response(ResponseKind.TEXT, f"you said {text[:50]}")),
        transcript=transcript,
        message_id=message_id,
        attempt=attempt,
    )
