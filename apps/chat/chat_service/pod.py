"""What all connections of a pod share."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from chat_service.conversation import ConversationLimits
from chat_service.deadlines import Deadlines
from chat_service.fair_bytes import FairByteBudget
from chat_service.in_flight import InFlightMessages
from chat_service.message_handler import MessageHandler
from servicekit.logs import get_logger
from servicekit.uuid7 import uuid7

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from structlog.typing import FilteringBoundLogger

    from botkit import Said
    from chat_service.metrics import ChatMetrics
    from chat_service.outbox import OnKept
    from frameproto.exchange import Exchange
    from permits import PermitPool
    from servicekit.clock import Now


class ExchangeSink(Protocol):
    """Where finished exchanges go before their replies leave; the outbox."""

    def keep(self, exchange: "Exchange", on_kept: "OnKept") -> None:
        """Keep the exchange for good, and tell later whether that was possible. Calls are answered in their order."""

    async def find(self, client_id: str, message_id: "UUID") -> "Exchange | None":
        """Return the latest exchange that is kept here for a message of a client, if there is one."""


class HistoryLookup(Protocol):
    """What is read of history; neither raises, and both take a bounded time."""

    async def claim(self, client_id: str, message_id: "UUID", attempt: int) -> bytes | None:
        """Return the response to a message as history has it, which counts as that of this attempt from now on."""

    async def context(self, client_id: str, session_id: "UUID") -> "Sequence[Said]":
        """Return the last messages of a session, oldest first."""


def _logger() -> "FilteringBoundLogger":
    """Return a logger that costs nothing for what is not logged; one that is made lazily is made anew each time."""
    return get_logger(__name__).bind()


@dataclass(frozen=True, slots=True, kw_only=True)
class PodServices:
    """What all connections of a pod share."""

    handler: MessageHandler
    messages: "PermitPool"
    outbox: ExchangeSink
    pod_bytes: FairByteBudget
    limits: ConversationLimits
    metrics: "ChatMetrics"
    history: HistoryLookup | None = None
    in_flight: InFlightMessages = field(default_factory=InFlightMessages)
    now: "Now"
    new_id: "Callable[[datetime], UUID]" = uuid7
    deadlines: Deadlines = field(default_factory=Deadlines)
    log: "FilteringBoundLogger" = field(default_factory=_logger)

    @property
    def logs_answers(self) -> bool:
        """Whether each answer is a line of the log."""
        return self.log.is_enabled_for(logging.DEBUG)
