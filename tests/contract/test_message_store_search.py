"""What every message store promises of search: the same words find the same messages."""

from datetime import timedelta

import pytest

from history_service.model import Message
from history_service.stores.base import MessageStore
from history_service.tokenizer import tokenize
from tests.contract.stores import NOON, begin, kept


async def texts(store: MessageStore, query: str, client_id: str = "anna") -> list[str | None]:
    found = await store.exchanges.search(client_id, tokenize(query), before=None, limit=100)
    return [message.content.text for message in found]


async def test_all_words_must_be_in_one_message(store: MessageStore) -> None:
    session = await begin(store)
    await store.exchanges.add(
        [
            kept(session.id, "The dog barks.", asked="What does a DOG do?"),
            kept(session.id, "A cat, and a dog!", asked="cat", at=NOON + timedelta(seconds=1)),
        ]
    )
    assert await texts(store, "dog") == ["A cat, and a dog!", "The dog barks.", "What does a DOG do?"]
    assert await texts(store, "cat dog") == ["A cat, and a dog!"]
    assert await texts(store, "barks what") == []  # each is there, in two messages
    assert await texts(store, "do") == ["What does a DOG do?"]  # whole words
    assert await texts(store, "dog", "bob") == []


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Die STRASSE ist weit", "straße"),
        ("Der große Plan", "GROSSE"),
        ("\uff21\uff22\uff23 in full width", "abc"),
        ("cafe\u0301", "CAFÉ"),
        ("हिन्दी में लिखा", "हिन्दी"),
        ("Привет, мир", "ПРИВЕТ"),
        ('{"$gt": 1} % _ * \\', "gt 1"),
        ("x" * 100, "x" * 64 + "y"),
        ("it's 3.5 km", "s 5"),
    ],
)
async def test_words_are_compared_folded(store: MessageStore, text: str, query: str) -> None:
    session = await begin(store)
    await store.exchanges.add([kept(session.id, text), kept(session.id, "something else")])
    assert await texts(store, query) == [text]


async def test_pages_hold_each_match_once_newest_first_whatever_is_deleted(store: MessageStore) -> None:
    session = await begin(store)
    exchanges = [
        kept(session.id, f"yes {n}", asked="yes?" if n % 3 else None, at=NOON + timedelta(seconds=n)) for n in range(12)
    ]
    await store.exchanges.add(exchanges)
    expected = [m for one in exchanges[::-1] for m in list(one.messages())[::-1] if m.content.text]
    for limit in (1, 2, 7, 100):
        seen: list[Message] = []
        while page := await store.exchanges.search("anna", ["yes"], before=seen[-1].id if seen else None, limit=limit):
            assert len(page) <= limit
            seen += page
        assert seen == expected
    await store.deletions.delete_message("anna", expected[4].id)
    rest = await store.exchanges.search("anna", ["yes"], before=expected[4].id, limit=3)
    assert [message.id for message in rest] == [message.id for message in expected[5:8]]


def test_a_text_is_found_by_a_bounded_number_of_words() -> None:
    assert tokenize("b a b") == ["b", "a"]
    assert tokenize("… — ! \u200d") == []
    assert tokenize("done 🎉!") == ["done", "🎉"]
    assert len(tokenize(" ".join(f"w{n}" for n in range(5000)))) == 2000
