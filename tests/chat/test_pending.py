"""A message on its way: which stage may follow which, and what is kept of it."""

from datetime import UTC, datetime
from typing import get_args

import pytest

from chat_service.pending import AT_WORK, NEXT, UNANSWERED, Event, IllegalEvent, PendingMessage, Stage

NOW = datetime(2026, 6, 1, tzinfo=UTC)
WHOLE_WAY: tuple[Event, ...] = (
    *("take", "charged", "admitted", "prepared", "turn", "piece", "answered", "keep", "kept", "send", "sent"),
)


def test_a_message_goes_from_hand_to_done() -> None:
    message = PendingMessage(b"\x00a", NOW)
    for event in WHOLE_WAY:
        message.move(event)
    assert message.stage is Stage.DONE
    assert set(WHOLE_WAY) == set(get_args(Event))


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("event", get_args(Event))
def test_an_event_out_of_turn_is_a_bug_and_changes_nothing(stage: Stage, event: Event) -> None:
    message = PendingMessage(b"\x00a", NOW)
    message.stage = stage
    if (stage, event) in NEXT:
        message.move(event)
        assert message.stage >= stage
    else:
        with pytest.raises(IllegalEvent, match=f"{event} while {stage.name}"):
            message.move(event)
        assert message.stage is stage


def test_a_message_can_be_cancelled_as_long_as_it_has_no_reply() -> None:
    assert {stage for stage, event in NEXT if event == "answered"} == UNANSWERED
    assert UNANSWERED < AT_WORK


def test_a_reply_takes_the_place_of_the_request() -> None:
    message = PendingMessage(b"\x00a", NOW)
    assert message.size_bytes == 2
    message.add_piece("so ")
    message.answer(b"reply", keep=True)
    assert (message.frame, message.request, message.said, message.reply, message.must_keep) == (
        *(None, None, None),
        b"reply",
        True,
    )


def test_only_pieces_that_have_left_were_shown() -> None:
    message = PendingMessage(None, NOW)
    assert (message.size_bytes, message.shown) == (0, "")
    message.add_piece("It is ")
    message.unsent = ""
    message.add_piece("noon.")
    assert message.shown == "It is "
