"""The forms of a reply: a string, at once or later, and pieces."""

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable

import pytest

from botkit.responder import Reply, pieces, whole


class Streamed:
    """Pieces that are no generator."""

    async def __aiter__(self) -> AsyncGenerator[str, None]:
        yield "so "
        yield "far"


async def generated() -> AsyncGenerator[str, None]:
    yield "so "
    yield "far"


async def later(reply: Reply) -> Reply:
    return reply


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: "so far", ["so far"]),
        (lambda: later("so far"), ["so far"]),
        (generated, ["so ", "far"]),
        (lambda: later(generated()), ["so ", "far"]),
        (Streamed, ["so ", "far"]),
    ],
    ids=["string", "coroutine", "generator", "coroutine of a generator", "iterable"],
)
async def test_every_form_of_a_reply_has_pieces(make: "type[Streamed]", expected: list[str]) -> None:
    reply: str | AsyncIterable[str] | Awaitable[Reply] = make()
    assert [piece async for piece in pieces(reply)] == expected
    assert await whole(make()) == "so far"


async def test_who_stops_reading_ends_the_generator_of_the_bot() -> None:
    ended = False

    async def reply() -> AsyncGenerator[str, None]:
        nonlocal ended
        try:
            yield "so "
            yield "far"
        finally:
            ended = True

    reading = pieces(reply())
    assert await anext(reading) == "so "
    await reading.aclose()
    assert ended
