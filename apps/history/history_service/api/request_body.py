"""Small JSON request bodies."""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request

from frameproto.history import MAX_TITLE_CHARACTERS, TIME_ZONE_PATTERN
from servicekit.problems import Problem

MAX_BODY_BYTES: Final = 16 * 1024
JSON: Final = "application/json"
UNTELLABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters and lone surrogates, which stores cannot keep."""

TIME_ZONE: Final = re.compile(TIME_ZONE_PATTERN)


def require_content_type(request: Request, expected: str, what: str) -> None:
    """Check the media type of a request body. Raises a 415 problem."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != expected:
        raise Problem(415, "content_type_unsupported", f"{what} must be {expected}")


async def read_bytes(request: Request, max_bytes: int, too_large: Problem, cut_off: Problem) -> bytearray:
    """Read a request body of at most `max_bytes`. Raises one of the two problems."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            if len(body) + len(chunk) > max_bytes:
                raise too_large
            body += chunk
    except ClientDisconnect as exc:
        raise cut_off from exc
    return body


async def read_object(request: Request, members: Collection[str]) -> Mapping[str, Any]:
    """Return the JSON object in a request body.

    Raises:
        Problem: 400, it is none, or has other members; 413, it is too large; 415, it is not JSON.
    """
    require_content_type(request, JSON, "the body")
    too_large = Problem(413, "body_too_large", f"the body has at most {MAX_BODY_BYTES} bytes")
    cut_off = Problem(400, "body_unreadable", "the body did not arrive whole")
    try:
        content = json.loads(await read_bytes(request, MAX_BODY_BYTES, too_large, cut_off))
    except (ValueError, RecursionError) as exc:
        raise Problem(400, "body_unreadable", "the body must be a JSON object") from exc
    if not isinstance(content, dict):
        raise Problem(400, "body_unreadable", "the body must be a JSON object")
    unknown = sorted(set(content) - set(members))
    if unknown:
        raise Problem(400, "body_invalid", f"the body may have: {', '.join(members)}")
    return content


def read_title(value: object) -> str | None:
    """Return the title in a body; None: no title.

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
    if not isinstance(value, str) or TIME_ZONE.fullmatch(value) is None:
        raise Problem(400, "time_zone_malformed", "time_zone must be a name such as Europe/Berlin, or +07:00")
    return value
