"""Pictures in a terminal that shows them, by the sequence of iTerm2 (OSC 1337), which takes JPEG as it is."""

import base64
import os
import sys
from collections.abc import Mapping
from typing import Final

from frameproto import Buffer

PROGRAMS: Final = frozenset({"iTerm.app", "WezTerm", "mintty", "rio", "WarpTerminal"})
"""The terminals that show them, by TERM_PROGRAM; Konsole says who it is in another way."""

LARGEST_BYTES: Final = 2 * 1024 * 1024
WIDTH: Final = "50%"


def shows_pictures(environ: Mapping[str, str] = os.environ) -> bool:
    """Say whether this terminal shows pictures; within tmux and screen none does."""
    if environ.get("TMUX") or environ.get("STY"):
        return False
    named = environ.get("TERM_PROGRAM") or environ.get("LC_TERMINAL", "")
    return named in PROGRAMS or "iTerm2" in named or "KONSOLE_VERSION" in environ


def show_picture(content: Buffer) -> None:
    """Show a picture where the cursor is, if standard output is a terminal that does it."""
    if not sys.stdout.isatty() or not shows_pictures() or len(content) > LARGEST_BYTES:
        return
    encoded = base64.b64encode(content).decode("ascii")
    options = f"inline=1;size={len(content)};width={WIDTH};preserveAspectRatio=1"
    sys.stdout.write(f"\x1b]1337;File={options}:{encoded}\x07\n")
    sys.stdout.flush()
