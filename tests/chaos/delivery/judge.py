"""What must be true of a run. Each check returns complaints, for people to read; none is well."""

from collections import Counter
from collections.abc import Iterable, Iterator

from tests.chaos.delivery.journal import NO_CLOSE_FRAME, End, Kept, Said, Story

SHOWN = 20


def complaints(story: Story) -> list[str]:
    """Return all that is wrong with a run."""
    checks = (lost, altered, twice, strangers, unseen, cuts, unanswered, order)
    return [*story.complaints[:SHOWN], *(complaint for check in checks for complaint in check(story))]


def lost(story: Story) -> list[str]:
    """What a client saw answered is in history."""
    there = {(kept.client, kept.request) for kept in story.kept}
    return _list(
        "answered, and not in history",
        (said for said in story.said if said.end is End.ANSWERED and (said.client, said.request) not in there),
        story,
    )


def altered(story: Story) -> list[str]:
    """It is there as the client saw it, media byte for byte."""
    replies = {(kept.client, kept.request): kept.reply for kept in story.kept}
    return _list(
        "in history with another answer",
        (
            said
            for said in story.said
            if said.end is End.ANSWERED and replies.get((said.client, said.request), said.reply) != said.reply
        ),
        story,
    )


def twice(story: Story) -> list[str]:
    """Nothing is there more than once."""
    counts = Counter((kept.client, kept.request) for kept in story.kept)
    return [f"in history {count} times: {client} {request}" for (client, request), count in counts.items() if count > 1]


def strangers(story: Story) -> list[str]:
    """Nothing is there that nobody said, or whose client was told that it was not kept."""
    ends = _ends(story.said)
    wrong = [kept for kept in story.kept if ends.get((kept.client, kept.request), End.REFUSED) is End.REFUSED]
    return [f"in history, and never said or refused: {kept}" for kept in wrong[:SHOWN]]


def unseen(story: Story) -> list[str]:
    """What is there beyond what was answered was on its way when a process was killed."""
    there = {(kept.client, kept.request) for kept in story.kept}
    return _list(
        "in history, never answered, and not on its way at any kill",
        (
            said
            for said in story.said
            if said.end is End.CUT
            and (said.client, said.request) in there
            and not any(said.sent <= kill.dead and kill.began <= said.ended for kill in story.kills)
        ),
        story,
    )


def cuts(story: Story) -> list[str]:
    """A connection breaks only because its process was killed, and then without a close frame.

    How late a client notices does not count: on a busy machine that may be many seconds.
    """
    return _list(
        "its connection broke, and not by a kill",
        (
            said
            for said in story.said
            if said.end is End.CUT
            and not (
                said.close_code == NO_CLOSE_FRAME
                and any(said.opened <= kill.dead and kill.began <= said.ended for kill in story.kills)
            )
        ),
        story,
    )


def unanswered(story: Story) -> list[str]:
    """Nobody is left waiting."""
    return _list("never answered", (said for said in story.said if said.end is End.WAITS), story)


def order(story: Story) -> list[str]:
    """A session has its exchanges in the order in which they were said, apart from what was said again."""
    numbers = {(said.client, said.request): said.number for said in story.said if said.attempts == 1}
    last: dict[str, int] = {}
    found = []
    for kept in story.kept:
        number = numbers.get((kept.client, kept.request))
        if number is None:
            continue
        if number < last.get(kept.session, 0):
            found.append(f"{kept.client} said number {number} before {last[kept.session]}, session {kept.session}")
        last[kept.session] = number
    return found[:SHOWN]


def _ends(said: Iterable[Said]) -> dict[tuple[str, str], End]:
    return {(one.client, one.request): one.end for one in said}


def _list(what: str, said: Iterable[Said], story: Story) -> list[str]:
    return [f"{what}: {one} {_before(one, story)}" for one in list(said)[:SHOWN]]


def _before(said: Said, story: Story) -> str:
    """Return what had been done before the client knew its end."""
    done = [f"{said.ended - at:.3f} s after: {what}" for at, what in story.faults if at <= said.ended]
    return "; ".join(done[-2:])


def summary(story: Story) -> str:
    """Return a run in one line."""
    ends = Counter(said.end.value for said in story.said)
    codes = Counter(said.code for said in story.said if said.code)
    extra = sum(1 for _ in _extra(story))
    again = [said.attempts for said in story.said if said.attempts > 1]
    return (
        f"{dict(ends)} refused {dict(codes)}, {len(story.kept)} in history, {extra} of them not seen answered,"
        f" {len(again)} sent again, up to {max(again, default=1)} times"
    )


def _extra(story: Story) -> Iterator[Kept]:
    ends = _ends(story.said)
    return (kept for kept in story.kept if ends.get((kept.client, kept.request)) is End.CUT)
