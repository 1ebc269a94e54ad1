"""Chromium without a window, as tests, the figures of the page and its pictures start it."""

import shutil
from typing import Final

CHROMIUM: Final = shutil.which("chromium")
FLAGS: Final = (
    "--no-sandbox",  # it may be started by root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)
