"""Small JSON bodies of requests."""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request

from servicekit.problems import Problem

MAX_BODY_BYTES: Final = 16 * 1024
MAX_TITLE_CHARACTERS: Final = 200
JSON: Final = "application/json"
UNTELLABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and halves of characters, which no store can be asked to keep."""

ZONE: Final = re.compile(r"[A-Za-z0-9_+:/.-]{1,64}")


async def read_object(request: Request, members: Collection[str]) -> Mapping[str, Any]:
    """Return the JSON object that came with a request.

    Raises:
        Problem: 400, it is none, or has other members; 413, it is too large; 415, it is not JSON.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise Problem(415, "content_type_unsupported", f"the body must be {JSON}")
    try:
        content = json.loads(await _read(request))
    except (ValueError, RecursionError) as bad:
        raise Problem(400, "body_unreadable", "the body must be a JSON object") from bad
    if not isinstance(content, dict):
        raise Problem(400, "body_unreadable", "the body must be a JSON object")
    unknown = sorted(set(content) - set(members))
    if unknown:
        raise Problem(400, "body_invalid", f"the body may have: {', '.join(members)}")
    return content


async def _read(request: Request) -> bytes:
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise Problem(413, "body_too_large", f"the body has at most {MAX_BODY_BYTES} bytes")
    except ClientDisconnect as gone:
        raise Problem(400, "body_unreadable", "the body did not arrive whole") from gone
    return body


def read_title(value: object) -> str | None:
    """Return a title from a body; None is none.

    Raises:
        Problem: 400, it cannot be one.
    """
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TITLE_CHARACTERS or UNTELLABLE.search(value):
        detail = f"title must be null, or 1 to {MAX_TITLE_CHARACTERS} characters without control characters"
        raise Problem(400, "title_malformed", detail)
    return value


def read_time_zone(value: object) -> str:
    """Return the name of a time zone from a body.

    Raises:
        Problem: 400, it cannot be one.
    """
    if not isinstance(value, str) or ZONE.fullmatch(value) is None:
        raise Problem(400, "time_zone_malformed", "time_zone must be a name such as Europe/Berlin, or +07:00")
    return value
