"""Ids that are shortened to their beginning."""

from uuid import UUID, uuid4

import pytest

from chat_client import History
from chat_client.short_ids import AmbiguousId, ShortId, find_message, find_session
from tests.client.conftest import Chatbot, exchange_id


@pytest.mark.parametrize("given", ["", "abc", "-", "xyz12", "1234.answer", "1" * 33, "1234 5678", "новый"])
def test_what_no_id_begins_with_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="an id begins with"):
        ShortId.parse(given)


async def test_sessions_are_found_by_their_beginning(chatbot: Chatbot, client_id: str, sessions: list[UUID]) -> None:
    async with History(chatbot.history_url) as history:
        for given in (str(sessions[0]), str(sessions[0])[:20], sessions[0].hex[:17], str(sessions[0])[:20].upper()):
            assert await find_session(history, client_id, given) == sessions[0]
        with pytest.raises(AmbiguousId, match=f'more than one session of {client_id} begins with "'):
            await find_session(history, client_id, str(sessions[0])[:8])
        with pytest.raises(AmbiguousId, match="no session"):
            await find_session(history, client_id, "0000")
        with pytest.raises(AmbiguousId, match="is no id"):
            await find_session(history, client_id, "none")
        unknown = uuid4()
        assert await find_session(history, client_id, str(unknown)) == unknown


async def test_messages_are_found_by_their_beginning(chatbot: Chatbot, client_id: str, sessions: list[UUID]) -> None:
    first, second, last = (exchange_id(client_id, *which) for which in ((0, 0), (1, 1), (1, 2)))
    async with History(chatbot.history_url) as history:
        for id_ in (first, second, last):
            assert await find_message(history, client_id, f"{id_.hex}.reply") == f"{id_}.reply"
            assert await find_message(history, client_id, f"{id_}.request") == f"{id_}.request"
        with pytest.raises(AmbiguousId, match=r"more than one message .*\.request, .*\.reply"):
            await find_message(history, client_id, str(first))
        with pytest.raises(AmbiguousId, match="more than one message"):
            await find_message(history, client_id, f"{str(first)[:13]}.reply")
        with pytest.raises(AmbiguousId, match="no message"):
            await find_message(history, client_id, "00000000.reply")
    assert len(sessions) == 2
