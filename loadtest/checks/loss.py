"""Does history hold every exchange that clients saw answered, once, and in the order of each connection?"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from loadtest.client_log import ClientExchange
from loadtest.readback import ReadExchange
from loadtest.recording import RunRecording

Likeness = tuple[str, str, str, int, int]


def differences(recording: RunRecording) -> list[str]:
    """Return what history lacks, has too often, has in another order, or should not have."""
    kept: dict[str, list[ReadExchange]] = defaultdict(list)
    for one in recording.stored:
        kept[one.session].append(one)
    asked: dict[str, dict[str, list[ClientExchange]]] = defaultdict(lambda: defaultdict(list))
    for exchange in recording.clients.exchanges:
        asked[recording.clients.visits[exchange.visit].session][exchange.visit].append(exchange)
    found: list[str] = []
    for session in sorted({*kept, *asked}):
        found += _in_session(session, asked.get(session, {}).values(), kept.get(session, []))
    return found


def _in_session(
    session: str, visits: Iterable[Sequence[ClientExchange]], kept: Sequence[ReadExchange]
) -> Iterator[str]:
    places: dict[Likeness, list[int]] = defaultdict(list)
    for place, one in enumerate(kept):
        places[_likeness(one)].append(place)
    unclaimed = set(range(len(kept)))
    unanswered: Counter[tuple[str, str]] = Counter()
    for visit in visits:
        last = -1
        for exchange in sorted(visit, key=lambda one: one.number):
            if exchange.outcome != "answered":
                # An attempt before the refused one may have been answered and stored.
                unanswered[exchange.kind, exchange.said] += exchange.outcome == "unanswered" or exchange.attempts > 1
                continue
            free = [place for place in places[_likeness(exchange)] if place in unclaimed]
            if not free:
                yield f"{_name(exchange)} of session {session} was answered, and history does not have it so"
                continue
            place = next((place for place in free if place > last), free[0])
            if place < last and exchange.attempts == 1:
                yield f"{_name(exchange)} of session {session} is in history out of order"
            unclaimed.discard(place)
            last = max(last, place)
    for place in sorted(unclaimed):  # in process when the connection ended: may be stored or not
        one = kept[place]
        if not unanswered[one.kind, one.said]:
            yield f"{_name(one)} of session {session} is in history once too often"
        unanswered[one.kind, one.said] -= 1


def _likeness(one: ClientExchange | ReadExchange) -> Likeness:
    return one.kind, one.said, one.reply, one.voice_bytes, one.image_bytes


def _name(one: ClientExchange | ReadExchange) -> str:
    return f"“{one.said}”" if one.said else f"a {one.kind}"
