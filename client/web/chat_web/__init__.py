"""The browser client: plain ES modules and a page, served by the chat service."""

from importlib.resources import files
from pathlib import Path
from typing import Final

FOLDER: Final = Path(str(files(__package__) / "static"))
"""Where the files are that a browser loads."""
