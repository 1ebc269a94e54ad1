"""The judge of deliveries: that it complains of each broken promise, and of nothing else."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.chaos.delivery import judge
from tests.chaos.delivery.journal import NO_CLOSE_FRAME, End, Kept, Kill, Said, Story, digest

KILL = Kill(10.0, 10.1)


def said(number: int, end: End = End.ANSWERED, *, sent: float = 1.0, ended: float = 2.0) -> Said:
    return Said(
        "anna",
        number,
        f"q{number}",
        sent,
        end,
        ended,
        f"a{number}" if end is End.ANSWERED else "",
        opened=sent - 1,
        close_code=NO_CLOSE_FRAME if end is End.CUT else 0,
    )


def kept(number: int, *, session: str = "s", client: str = "anna") -> Kept:
    return Kept(client, session, f"x{number}", f"q{number}", f"a{number}")


def good() -> Story:
    """A run that went well: answered, refused, and cut by a kill, one of these kept and one not."""
    return Story(
        [
            said(1),
            said(2),
            said(3, End.REFUSED),
            said(4, End.CUT, sent=9.5, ended=10.2),
            said(5, End.CUT, sent=9.6, ended=10.2),
        ],
        [kept(1), kept(2), kept(4)],
        [KILL],
        [(10.0, "chat0 is killed")],
    )


def test_it_has_nothing_to_say_of_a_run_that_went_well() -> None:
    assert judge.complaints(good()) == []
    assert "3 in history, 1 of them not seen answered" in judge.summary(good())


def lose(story: Story) -> None:
    story.kept.pop(0)


def repeat(story: Story) -> None:
    story.kept.append(replace(kept(2), exchange="another"))


def change(story: Story) -> None:
    story.kept[1] = replace(kept(2), reply="other bytes")


def invent(story: Story) -> None:
    story.kept.append(kept(77))


def mix_up(story: Story) -> None:
    story.kept[0] = replace(kept(1), client="ben")


def keep_refused(story: Story) -> None:
    story.kept.append(kept(3))


def keep_long_gone(story: Story) -> None:
    story.said[3] = said(4, End.CUT, sent=10.2, ended=10.3)


def cut_for_no_reason(story: Story) -> None:
    story.said[4] = said(5, End.CUT, sent=20, ended=21)


def cut_with_a_code(story: Story) -> None:
    story.said[4].close_code = 1013


def cut_before_the_kill(story: Story) -> None:
    story.said[4] = said(5, End.CUT, sent=9.0, ended=9.9)


def forget_to_answer(story: Story) -> None:
    story.said.append(said(6, End.WAITS))


def swap(story: Story) -> None:
    story.kept[0], story.kept[1] = story.kept[1], story.kept[0]


@pytest.mark.parametrize(
    ("break_it", "check"),
    [
        (lose, judge.lost),
        (repeat, judge.twice),
        (change, judge.altered),
        (invent, judge.strangers),
        (mix_up, judge.strangers),
        (mix_up, judge.lost),
        (keep_refused, judge.strangers),
        (keep_long_gone, judge.unseen),
        (cut_for_no_reason, judge.cuts),
        (cut_with_a_code, judge.cuts),
        (cut_before_the_kill, judge.cuts),
        (forget_to_answer, judge.unanswered),
        (swap, judge.order),
    ],
)
def test_it_complains_of_each_broken_promise(
    break_it: Callable[[Story], None], check: Callable[[Story], list[str]]
) -> None:
    story = good()
    assert check(story) == []
    break_it(story)
    assert check(story)
    assert set(check(story)) <= set(judge.complaints(story))


def test_a_client_may_notice_a_kill_as_late_as_it_will() -> None:
    story = good()
    story.said[4].ended = 100.0
    assert judge.complaints(story) == []


def test_what_was_sent_again_may_stand_where_it_was_first_answered() -> None:
    story = good()
    swap(story)
    story.said[1].attempts = 2
    assert judge.complaints(story) == []
    assert "1 sent again, up to 2 times" in judge.summary(story)


def test_what_clients_complain_of_is_told() -> None:
    story = good()
    story.complaints.append("q9 was answered instead of q8")
    assert judge.complaints(story) == ["q9 was answered instead of q8"]


def test_sessions_do_not_disturb_each_others_order() -> None:
    story = good()
    story.kept = [kept(2, session="one"), kept(1, session="two"), kept(4, session="two")]
    assert judge.order(story) == []


def test_a_complaint_tells_what_was_done_before() -> None:
    story = good()
    story.said[1].ended = 11.0
    story.kept.pop(1)
    (complaint,) = judge.lost(story)
    assert "q2" in complaint
    assert "1.000 s after: chat0 is killed" in complaint


def test_a_digest_tells_kinds_and_parts_apart() -> None:
    one = {digest("text", b"ab"), digest("voice", b"ab"), digest("text", b"a", b"b"), digest("text", b"", b"ab")}
    assert len(one) == 4
