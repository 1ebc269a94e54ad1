"""Heap settings for processes with large messages: freed memory returns to the system.

glibc maps large blocks separately, above a threshold that grows to the largest freed block, up to 32 MiB. After one
large message, later ones are put into the heap among long-lived small objects, and the memory freed between those is
never returned. With a fixed threshold every large block is mapped separately, and unmapped when it is freed.
"""

import ctypes
from typing import Final

# From glibc's malloc.h.
M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
M_ARENA_MAX: Final = -8

BLOCK_BYTES: Final = 128 * 1024  # blocks of this size are mapped separately; glibc's initial threshold
KEPT_BYTES: Final = 1024 * 1024  # of free heap; otherwise each message takes it from the system anew, page by page
ARENAS: Final = 2  # one for the event loop, one for the threads beside it


def return_freed_memory() -> bool:
    """Make this process return large blocks when they are freed. Return False if the C library is not glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    options = ((M_MMAP_THRESHOLD, BLOCK_BYTES), (M_TRIM_THRESHOLD, KEPT_BYTES), (M_ARENA_MAX, ARENAS))
    return bool(sum(mallopt(option, value) for option, value in options) == len(options))
