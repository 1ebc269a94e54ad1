"""An archive as a page to read in a browser. It needs no server, runs no script and loads nothing from elsewhere."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from html import escape
from typing import Any, Final
from urllib.parse import quote

from frameproto import MediaPart
from frameproto.history import Direction, ExportLine

HEAD: Final = """<!doctype html>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Conversations</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 45rem; margin: 2rem auto; padding: 0 1rem }
article { margin: .75rem 0; white-space: pre-wrap; overflow-wrap: anywhere }
time { opacity: .7; font-size: .85rem }
img, video { display: block; max-width: 100% }
audio { display: block; width: 100% }
</style>
<h1>Conversations</h1>
"""
TAGS: Final = {
    MediaPart.VOICE: '<audio controls preload="none" src="{}"></audio>',
    MediaPart.VIDEO: '<video controls preload="none" src="{}"></video>',
    MediaPart.IMAGE: '<img loading="lazy" alt="picture" src="{}">',
}
NAMES: Final = {Direction.REQUEST: "you", Direction.REPLY: "bot"}

MediaName = Callable[[str, str, str], str]
"""Returns where a medium is, by the id of its message, its part and its media type."""


def page_lines(lines: Iterable[dict[str, Any]], media_name: MediaName) -> Iterator[str]:
    """Yield the page of an index."""
    yield HEAD
    for line in lines:
        match line["type"]:
            case ExportLine.SESSION:
                title = f"<h2>{escape(str(line['title'] or 'Conversation'))}</h2>"
                yield f"{title}\n<p><time>{_moment(line['started_at'])}</time>, {escape(str(line['time_zone']))}</p>\n"
            case ExportLine.MESSAGE:
                yield _message(line, media_name)


def _message(line: dict[str, Any], media_name: MediaName) -> str:
    who = NAMES[Direction(line["direction"])]
    media = "".join(
        TAGS[MediaPart(part)].format(escape(quote(media_name(line["id"], part, there["content_type"]))))
        for part, there in line["media"].items()
    )
    text = escape(str(line["text"] or ""))
    return f"<article><b>{who}</b> <time>{_moment(line['sent_at'])}</time>\n{text}{media}</article>\n"


def _moment(raw: object) -> str:
    return datetime.fromisoformat(str(raw)).strftime("%Y-%m-%d %H:%M:%S %Z")
