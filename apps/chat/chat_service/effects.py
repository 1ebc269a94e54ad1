"""What the machine of a conversation has done for it: by its connection, and by the work on its messages."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from chat_service.pending import PendingMessage
    from frameproto.connection import CloseCode


class Effects(Protocol):
    """What a connection does for its machine. Each is called once for what it says, and none raises."""

    def pause_reading(self) -> None:
        """Deliver no frames for now."""

    def resume_reading(self) -> None:
        """Deliver frames again."""

    def is_receiving(self) -> bool:
        """Say whether a frame is arriving."""

    def charge(self, message: "PendingMessage", size_bytes: int) -> bool:
        """Charge the pod's budget; False: it is full, and `charged` follows unless the message is released before."""

    def recharge(self, message: "PendingMessage", size_bytes: int) -> None:
        """Charge this much instead."""

    def refused(self, code: str) -> None:
        """Count a message that gets an error frame and is not kept."""

    def send(self, frame: bytes) -> bool:
        """Hand a frame to the transport; False: the peer has not kept up, and `caught_up` follows."""

    def close(self, code: "CloseCode", reason: str) -> None:
        """Close the connection towards the peer."""

    def closed(self) -> None:
        """The connection is closed, from either side: give its permit back."""

    def finished(self) -> None:
        """The connection is closed and nothing works on any message of it."""

    def wake_at(self, when: float) -> None:
        """Have `wake` called at this time; an earlier one that was asked for before counts no more."""


class Work(Protocol):
    """What is done with messages. Each is called once for what it says, and none raises."""

    def admit(self, message: "PendingMessage") -> None:
        """Get a message permit; `admitted` or `answered` follows."""

    def prepare(self, message: "PendingMessage") -> None:
        """Decode the message; `prepared` or `answered` follows."""

    def take_turn(self, message: "PendingMessage") -> None:
        """Let the bot reply; `spoken`, `piece` and at last `answered` follow."""

    def keep(self, message: "PendingMessage") -> None:
        """Put the exchange into the outbox; `kept` follows, perhaps with another reply."""

    def release_permit(self, message: "PendingMessage") -> None:
        """Give the message permit back, if there is one."""

    def forget(self, message: "PendingMessage") -> None:
        """Give back all that the message holds: permit, bytes."""

    def abandon(self, message: "PendingMessage") -> None:
        """Stop working on a message; `abandoned` follows when the work has really ended."""

    def cancelled(self, message: "PendingMessage") -> None:
        """The work on a message that the client has cancelled has ended without a reply; `answered` follows."""
