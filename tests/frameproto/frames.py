"""Hypothesis strategies: requests, responses, and what a hostile or broken peer makes of their frames."""

from hypothesis import strategies as st

from frameproto import Request, RequestKind, Response, ResponseKind, error_response

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
media = st.binary(min_size=1, max_size=60)
codes = st.from_regex(r"[a-z][a-z0-9_]{0,63}", fullmatch=True)

requests: st.SearchStrategy[Request] = st.one_of(
    texts.map(lambda text: Request(RequestKind.TEXT, text.encode())),
    st.builds(Request, st.sampled_from([RequestKind.VOICE, RequestKind.VIDEO]), media),
)
responses: st.SearchStrategy[Response] = st.one_of(
    texts.map(lambda text: Response(ResponseKind.TEXT, text)),
    st.builds(lambda text, voice: Response(ResponseKind.VOICE, text, voice), texts, media),
    st.builds(lambda text, voice, image: Response(ResponseKind.VIDEO, text, voice, image), texts, media, media),
    st.builds(error_response, codes, texts),
)


@st.composite
def mutations(draw: st.DrawFn, frames: st.SearchStrategy[bytes]) -> bytes:
    """A valid frame with one to four things done to it."""
    frame = draw(frames)
    for _ in range(draw(st.integers(1, 4))):
        change = draw(st.sampled_from([_flip, _overwrite, _insert, _delete, _truncate, _repeat]))
        at = draw(st.integers(0, max(0, len(frame) - 1)))
        frame = change(frame, at, draw) if frame else draw(st.binary(max_size=4))
    if draw(st.booleans()):
        other = draw(frames)
        frame = frame[: draw(st.integers(0, len(frame)))] + other[draw(st.integers(0, len(other))) :]
    return frame


def every_single_mutation(frame: bytes) -> list[bytes]:
    """Every flip of a bit, deleted byte, truncation, and inserted byte out of a few, of one frame."""
    places = range(len(frame))
    flips = [_replaced(frame, at, bytes([frame[at] ^ 1 << bit])) for at in places for bit in range(8)]
    deletions = [frame[:at] + frame[at + 1 :] for at in places]
    truncations = [frame[:at] for at in places]
    inserted = [bytes([byte]) for byte in (0, 1, 2, 3, 0x20, 0x7F, 0x80, 0xC3, 0xFF)]
    insertions = [frame[:at] + byte + frame[at:] for at in range(len(frame) + 1) for byte in inserted]
    return [*flips, *deletions, *truncations, *insertions]


def _replaced(frame: bytes, at: int, what: bytes) -> bytes:
    return frame[:at] + what + frame[at + 1 :]


def _flip(frame: bytes, at: int, draw: st.DrawFn) -> bytes:
    return _replaced(frame, at, bytes([frame[at] ^ 1 << draw(st.integers(0, 7))]))


def _overwrite(frame: bytes, at: int, draw: st.DrawFn) -> bytes:
    return _replaced(frame, at, draw(st.binary(min_size=1, max_size=1)))


def _insert(frame: bytes, at: int, draw: st.DrawFn) -> bytes:
    return frame[:at] + draw(st.binary(min_size=1, max_size=8)) + frame[at:]


def _delete(frame: bytes, at: int, draw: st.DrawFn) -> bytes:
    return frame[:at] + frame[at + draw(st.integers(1, 8)) :]


def _truncate(frame: bytes, at: int, draw: st.DrawFn) -> bytes:
    return frame[:at]


def _repeat(frame: bytes, at: int, draw: st.DrawFn) -> bytes:
    return frame[:at] + frame[at : at + draw(st.integers(1, 16))] * 2 + frame[at:]
