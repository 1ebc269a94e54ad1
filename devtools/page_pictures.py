"""Takes the pictures of the page that the documentation shows: ./taskw docs:pictures."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal

from playwright.sync_api import Browser, sync_playwright

from devtools.chromium import CHROMIUM, FLAGS
from devtools.ports import free_port
from devtools.processes import running
from devtools.servers import ROOT

FOLDER: Final = ROOT / "docs" / "images"
TIMEOUT_MS: Final = 60_000
DESKTOP: Final = (1100, 720)
PHONE: Final = (390, 720)
PLAN: Final = """\
## Packing list

For **three days** in Lisbon:

1. Shirts, and a *light* jacket
2. Shoes for walking

| day | weather |
|---|--:|
| Friday | 24 °C |
| Saturday | 21 °C |

More is in [the guide](https://guide.example/lisbon).
"""
TALK: Final = {"Good morning!": "Good morning! What can I do for you?", "What do I pack for Lisbon?": PLAN}
BOT: Final = f"TALK = {TALK!r}\n\n\ndef bot(turn, memory):\n    return TALK[turn.text]\n"
"""A bot for the pictures, as docs/bots.md describes one."""
CONNECTED: Final = "() => /^(Connected|Verbunden)$/.test(document.getElementById('status-text').textContent)"
LISTED: Final = "() => document.querySelectorAll('#sessions li').length > 0"


def main() -> int:
    if CHROMIUM is None:
        print("there is no chromium on this machine (Debian: apt-get install chromium)", file=sys.stderr)
        return 1
    FOLDER.mkdir(exist_ok=True)
    with server() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        take(browser, address, "page-light", DESKTOP, "light", "en-GB")
        take(browser, address, "page-dark", DESKTOP, "dark", "en-GB")
        take(browser, address, "page-phone-light", PHONE, "light", "de-DE")
        take(browser, address, "page-phone-dark", PHONE, "dark", "en-GB")
        browser.close()
    return 0


@contextmanager
def server() -> Iterator[str]:
    """Run the chatbot, and give the address of its page."""
    ports = {"CHAT_PORT": free_port(), "HISTORY_PORT": free_port(), "CHAT_METRICS_PORT": 0, "HISTORY_METRICS_PORT": 0}
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "picture_bot.py").write_text(BOT, "utf-8")
        bot = {"CHAT_BOT": "picture_bot:bot", "PYTHONPATH": folder}
        folders = {"CHAT_DATA_DIR": folder / "chat", "HISTORY_DATA_DIR": folder / "history"}
        with running("standalone", folder / "log", {**ports, **folders, **bot, "CHAT_MEDIA_PROCESSES": 1}) as service:
            yield f"http://127.0.0.1:{service.ports['chat']}/"


def take(
    browser: Browser, address: str, name: str, size: tuple[int, int], scheme: Literal["light", "dark"], locale: str
) -> None:
    """Have a conversation, and take its picture."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, locale=locale, timezone_id="Europe/Lisbon"
    )
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    page.goto(address)
    page.wait_for_function(CONNECTED)
    for number, text in enumerate(TALK, start=1):
        page.fill("#text", text)
        page.keyboard.press("Enter")
        page.locator("li.reply:not(.growing)").nth(number - 1).wait_for()
    if size == DESKTOP:
        page.wait_for_function(LISTED)
    page.evaluate("() => document.activeElement.blur()")
    page.screenshot(path=FOLDER / f"{name}.png")
    context.close()
    print(f"docs/images/{name}.png")


if __name__ == "__main__":
    sys.exit(main())
