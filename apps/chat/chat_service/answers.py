"""Answers that there are already to a message that is sent again.

A message may have been answered over a connection that broke. This pod may be working on it still, or have its exchange
in the outbox; or history has it. Otherwise it is answered anew: once too often at worst, and history keeps the later
answer.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chat_service.metrics import Source

if TYPE_CHECKING:
    from chat_service.pending import PendingMessage
    from chat_service.pod import PodServices
    from frameproto.exchange import Exchange


@dataclass(frozen=True, slots=True)
class EarlierAnswer:
    """What was found.

    Attributes:
        source: where.
        exchange: to be kept once more, under the attempt that it answers now.
        claimed: the response that history counts as that of this attempt already.
    """

    source: Source
    exchange: "Exchange | None" = None
    claimed: bytes | None = None


async def find_answer(pod: "PodServices", client_id: str, message: "PendingMessage", attempt: int) -> EarlierAnswer:
    """Look for an answer to a message that is sent again, where it costs least first."""
    message_id = message.message_id
    assert message_id is not None  # noqa: S101 - only a frame that names a message is sent again
    waited = await pod.in_flight.wait_for_earlier(message)
    exchange = await pod.outbox.find(client_id, message_id)
    if exchange is not None:
        return EarlierAnswer(Source.UNDER_WAY if waited else Source.OUTBOX, exchange)
    claimed = await pod.history.claim(client_id, message_id, attempt) if pod.history is not None else None
    return EarlierAnswer(Source.HISTORY, claimed=claimed) if claimed is not None else EarlierAnswer(Source.TURN)
