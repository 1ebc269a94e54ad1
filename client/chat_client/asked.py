"""A message that was handed to a chat: its events as they come, and its response."""

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import UUID

from chat_client.outgoing import Event, OnSent, OutgoingMessage
from frameproto import Request, Response


class Asked:
    """One message on its way. `Chat.send` makes one.

    Iterate over it for what comes: statuses and pieces, and the response as the last.
    """

    def __init__(self, request: Request, on_sent: OnSent | None, take_back: Callable[[OutgoingMessage], None]) -> None:
        self.message = OutgoingMessage(request, self._tell, on_sent)
        self._take_back = take_back
        self._events: asyncio.Queue[Event | Exception] = asyncio.Queue()
        self._reply: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

    @property
    def id(self) -> UUID:
        """The id of the message, by which history knows it on v2."""
        return self.message.id

    @property
    def done(self) -> bool:
        """Whether the outcome is known."""
        return self._reply.done()

    async def reply(self) -> Response:
        """Return the response.

        Raises:
            MessageFailed: the bot answered with an error.
            Unanswered: there is no connection, and it does not come back.
            MessageInvalid: it is larger than the server takes.
        """
        return await asyncio.shield(self._reply)

    def cancel(self) -> None:
        """Take the message back. `reply` raises `MessageFailed` (`cancelled`), or returns the reply that was faster."""
        self._take_back(self.message)

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Yield the events, each once.

        Raises:
            ClientError: as `reply` does.
        """
        while True:
            event = await self._events.get()
            if isinstance(event, Exception):
                raise event
            yield event
            if isinstance(event, Response):
                return

    def _tell(self, event: Event | Exception) -> None:
        self._events.put_nowait(event)
        if isinstance(event, Response):
            self._reply.set_result(event)
        elif isinstance(event, Exception):
            self._reply.set_exception(event)
            self._reply.exception()  # the caller may be gone
