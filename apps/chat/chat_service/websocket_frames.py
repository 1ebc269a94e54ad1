"""The frames that nearly all messages of a chat are, read and written without the general parser (RFC 6455, 5.2).

What `read_message` does not take (fragments, control frames, large or unfinished or wrong ones) is for the parser of
`websockets`, which has the last word on what is allowed. Here nothing is taken that it would refuse.
"""

from typing import Final

from websockets.frames import Frame

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the compiled part
    from websockets.utils import apply_mask

FIN_BINARY: Final = 0x82
MASKED: Final = 0x80
MASK_BYTES: Final = 4
TWO_BYTES: Final = 126
"""In place of a length: the next two bytes are the length."""
EIGHT_BYTES: Final = 127
MAX_ONE: Final = 125
MAX_TWO: Final = 0xFFFF


def read_message(data: bytes, at: int, max_bytes: int) -> tuple[bytes, int] | None:
    """Return the message of the masked binary frame at this place, and where it ends; None: it is something else.

    Args:
        data: bytes from a client, in which a frame begins at `at`.
        at: where.
        max_bytes: a larger message is for the parser, which refuses it.
    """
    here = len(data) - at
    if here < 2 + MASK_BYTES or data[at] != FIN_BINARY:
        return None
    length, mask_at = data[at + 1] - MASKED, at + 2
    if length == TWO_BYTES and here >= 4 + MASK_BYTES:
        length, mask_at = int.from_bytes(data[at + 2 : at + 4]), at + 4
        if length <= MAX_ONE:
            return None
    elif not 0 <= length <= MAX_ONE:
        return None
    begin = mask_at + MASK_BYTES
    end = begin + length
    if end > len(data) or length > max_bytes:
        return None
    return apply_mask(data[begin:end], data[mask_at:begin]), end


def message_head(size: int) -> bytes:
    """Return what stands before an unmasked binary message of so many bytes."""
    if size <= MAX_ONE:
        return bytes((FIN_BINARY, size))
    if size <= MAX_TWO:
        return bytes((FIN_BINARY, TWO_BYTES)) + size.to_bytes(2)
    return bytes((FIN_BINARY, EIGHT_BYTES)) + size.to_bytes(8)


def size_on_wire(frame: Frame) -> int:
    """Return how many bytes a client's frame has, if its length is written in as few bytes as can be."""
    size = len(frame.data)
    return 2 + MASK_BYTES + size + (0 if size <= MAX_ONE else 2 if size <= MAX_TWO else 8)
