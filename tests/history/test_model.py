"""Exchanges, their messages, and which of several answers is kept."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from frameproto import MediaPart, MessageKind
from frameproto.history import Direction
from frameproto.kinds import Outcome
from history_service.model import (
    MessageContent,
    MessageId,
    StoredExchange,
    StoredMedia,
    rank_of_answer,
    rank_of_claim,
)

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
VOICE = StoredMedia(MediaPart.VOICE, "anna/s/e/request.mp3", 3)
EXCHANGE = StoredExchange(
    id=UUID(int=7),
    session_id=UUID(int=1),
    client_id="anna",
    time_zone="UTC",
    received_at=NOON,
    answered_at=NOON + timedelta(seconds=1),
    outcome=Outcome.ANSWERED,
    request=MessageContent(MessageKind.VOICE, "hello", (VOICE,), transcribed=True),
    reply=MessageContent(MessageKind.TEXT, "good day"),
)


def test_an_exchange_has_two_messages_with_times_of_their_own() -> None:
    request, reply = EXCHANGE.messages()
    assert (str(request.id), request.sent_at) == (f"{EXCHANGE.id}.request", EXCHANGE.received_at)
    assert (str(reply.id), reply.sent_at) == (f"{EXCHANGE.id}.reply", EXCHANGE.answered_at)
    assert EXCHANGE.media_keys() == {VOICE.key}


def test_a_deleted_message_is_no_message_and_has_no_media() -> None:
    left = replace(EXCHANGE, request=None)
    assert [message.id.direction for message in left.messages()] == [Direction.REPLY]
    assert left.media_keys() == set()


def test_what_was_deleted_stays_deleted_in_a_replacement() -> None:
    later = replace(EXCHANGE, id=UUID(int=8))
    assert later.as_replacement_of(EXCHANGE) == later
    assert later.as_replacement_of(replace(EXCHANGE, reply=None)) == replace(later, reply=None)
    assert later.as_replacement_of(replace(EXCHANGE, request=None)) == replace(later, request=None)


def test_a_later_attempt_goes_first_then_an_answer_before_a_claim_then_the_higher_id() -> None:
    older, newer = UUID(int=7), UUID(int=8)
    ranked = [
        replace(EXCHANGE, id=id_, rank=rank).precedence
        for id_, rank in (
            (newer, rank_of_claim(3)),
            (older, rank_of_answer(3)),
            (newer, rank_of_answer(3)),
            (older, rank_of_claim(4)),
        )
    ]
    assert ranked == sorted(ranked)


@pytest.mark.parametrize(
    ("key", "content_type"),
    [("anna/s/e/request.mp3", "audio/mpeg"), ("anna/s/e/request.xyz", "application/octet-stream")],
)
def test_media_know_their_client_and_type_by_their_key(key: str, content_type: str) -> None:
    media = StoredMedia(MediaPart.VOICE, key, 3)
    assert (media.client_id, media.content_type) == ("anna", content_type)


def test_an_id_of_a_message_is_read_as_it_is_written() -> None:
    id_ = MessageId(UUID(int=7), Direction.REPLY)
    assert MessageId.parse(str(id_)) == id_
    for raw in ("", str(id_.exchange_id), f"{id_.exchange_id}.answer", "7.reply"):
        with pytest.raises(ValueError, match=r"\S"):
            MessageId.parse(raw)
