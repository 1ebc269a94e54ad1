"""What may be written to a terminal."""

import os
from typing import TextIO


def wants_colour(stream: TextIO) -> bool:
    """Say whether colours may be written to `stream`.

    Only to a terminal that is not dumb, and never when `NO_COLOR` is set to anything (https://no-color.org).
    """
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
