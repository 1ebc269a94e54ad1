"""The heap of a process that handles large messages: what is freed goes back to the system.

glibc raises its threshold for blocks of their own to the size of the largest block that was freed, up to 32 MiB. After
one large message the next ones lie in the heap, among small objects that live on, and what is freed between them stays
with the process for good. A fixed threshold keeps every large block apart, so it goes back when it is freed.
"""

import ctypes
from typing import Final

# From glibc's malloc.h.
M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
M_ARENA_MAX: Final = -8

BLOCK_BYTES: Final = 128 * 1024  # from here on a block is apart; glibc's own threshold before it raises it
KEPT_BYTES: Final = 1024 * 1024  # of free heap; otherwise each message takes it from the system anew, page by page
ARENAS: Final = 2  # one for the event loop, one for the threads beside it


def return_freed_memory() -> bool:
    """Let this process give back large blocks as they are freed. Return whether its C library can; only glibc can."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    options = ((M_MMAP_THRESHOLD, BLOCK_BYTES), (M_TRIM_THRESHOLD, KEPT_BYTES), (M_ARENA_MAX, ARENAS))
    return bool(sum(mallopt(option, value) for option, value in options) == len(options))
