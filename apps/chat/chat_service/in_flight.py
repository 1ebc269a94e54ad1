"""The messages that this pod works on, so that one that is sent again waits for its earlier attempt.

A client whose connection broke may be back on the same pod before the pod has noticed. Its message is then still being
worked on for the old connection.
"""

import asyncio

from chat_service.pending import PendingMessage, Stage


class InFlightMessages:
    """Knows the messages of all connections of a pod that have ids, until they are kept or let go."""

    def __init__(self) -> None:
        self._latest: dict[bytes, PendingMessage] = {}

    def __len__(self) -> int:
        return len(self._latest)

    def begin(self, client_id: str, message: PendingMessage) -> None:
        """A message is worked on from now on."""
        if message.message_id is not None:
            key = message.key = message.message_id.bytes + client_id.encode()
            message.earlier = self._latest.get(key)
            self._latest[key] = message

    def end(self, message: PendingMessage) -> None:
        """It is kept, or never will be. Idempotent."""
        key, message.key = message.key, None
        if key is None:
            return
        if self._latest.get(key) is message:
            del self._latest[key]
        message.earlier = None
        ended, message.ended = message.ended, None
        if ended is not None and not ended.done():
            ended.set_result(None)

    async def wait_for_earlier(self, message: PendingMessage) -> bool:
        """Return when the attempt before this one has ended; say whether there was one."""
        earlier, message.earlier = message.earlier, None
        if earlier is None or earlier.stage >= Stage.KEPT:
            return False
        if earlier.ended is None:
            earlier.ended = asyncio.get_running_loop().create_future()
        await asyncio.shield(earlier.ended)
        return True
