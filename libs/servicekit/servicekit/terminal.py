"""What a terminal can show: colours and characters."""

import codecs
import os
import sys
from io import TextIOWrapper
from typing import TextIO


def wants_colour(stream: TextIO) -> bool:
    """Say whether colours may be written to `stream`.

    Only to a terminal that is not dumb, and never when `NO_COLOR` is set to anything (https://no-color.org).
    """
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def replace_unencodable() -> None:
    """Write "?" for characters that the terminal's encoding lacks, as in a POSIX locale, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.errors in {"strict", "surrogateescape"}:
            narrow = codecs.lookup(stream.encoding).name != "utf-8"
            if narrow or stream.errors == "strict":
                stream.reconfigure(errors="replace")
