"""Handing exchanges in."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgpack
import pytest

from frameproto.exchange import MESSAGE_ID_VERSION, encode_batch, encode_exchange
from history_service.blobs.base import BlobsUnavailable
from history_service.stores.base import StoreUnavailable, StoreUnusable, foreign_session
from tests.history.pod import MSGPACK, SHOWN, SPOKEN, VIDEO, VOICE, Pod, check_problem, open_pod, rich_exchange
from tests.support.exchanges import SESSION, exchange

GOOD = encode_exchange(exchange())


def with_field(index: int, value: object) -> bytes:
    """A record of which one field is something else."""
    fields = msgpack.unpackb(GOOD)
    fields[index] = value
    return bytes(msgpack.packb(fields))


async def test_what_is_handed_in_is_told_of_in_its_order(pod: Pod) -> None:
    batch = [exchange("one"), exchange("two", client_id="ben"), rich_exchange()]
    answer = await pod.post(*batch)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {"results": [{"id": str(one.id), "outcome": "stored"} for one in batch]}
    assert await pod.metric('chatbot_history_exchanges_total{outcome="stored"}') == 3


async def test_media_is_kept_beside_the_messages(pod: Pod) -> None:
    asked, shown = exchange(request=VOICE, response=SPOKEN), rich_exchange()
    await pod.ingest(asked, shown)
    assert pod.files() == {
        f"anna/{SESSION}/{asked.id}/request.mp3": VOICE.body,
        f"anna/{SESSION}/{asked.id}/reply.mp3": SPOKEN.voice,
        f"anna/{SESSION}/{shown.id}/request.mp4": VIDEO.body,
        f"anna/{SESSION}/{shown.id}/reply.mp3": SHOWN.voice,
        f"anna/{SESSION}/{shown.id}/reply.jpg": SHOWN.image,
    }


async def test_what_is_handed_in_again_is_kept_once(pod: Pod) -> None:
    first, second = rich_exchange(), exchange("later")
    assert await pod.ingest(first) == ["stored"]
    kept = pod.files()
    assert await pod.ingest(first, second, second) == ["duplicate", "stored", "duplicate"]
    assert pod.files() == kept
    assert (await pod.json(f"/v1/sessions/{SESSION}"))["message_count"] == 4
    assert len((await pod.json(f"/v1/sessions/{SESSION}/messages"))["messages"]) == 4
    assert await pod.metric('chatbot_history_exchanges_total{outcome="duplicate"}') == 2


async def test_an_answer_that_is_superseded_leaves_no_media(pod: Pod) -> None:
    message_id = uuid4()
    assert await pod.ingest(rich_exchange(message_id=message_id, attempt=2)) == ["stored"]
    kept = pod.files()
    assert await pod.ingest(rich_exchange(message_id=message_id, attempt=1)) == ["superseded"]
    assert pod.files() == kept
    assert await pod.metric('chatbot_history_exchanges_total{outcome="superseded"}') == 1


async def test_records_of_every_version_are_taken(pod: Pod) -> None:
    batch = [
        exchange("one"),
        exchange(request=VOICE, response=SPOKEN, transcript="two"),
        exchange("three", message_id=uuid4()),
        exchange(request=VOICE, response=SPOKEN, transcript="four", message_id=uuid4()),
    ]
    assert await pod.ingest(*batch) == ["stored"] * 4
    kept = (await pod.json(f"/v1/sessions/{SESSION}/messages"))["messages"]
    assert [message["text"] for message in kept if message["direction"] == "request"] == ["one", "two", "three", "four"]


@pytest.mark.parametrize(
    ("record", "code"),
    [
        pytest.param(b"\xc1", "record_unreadable", id="no MessagePack"),
        pytest.param(GOOD[:-1], "record_unreadable", id="cut off"),
        pytest.param(GOOD + b"\x00", "record_unreadable", id="something behind it"),
        pytest.param(b"\x80", "record_unreadable", id="no array"),
        pytest.param(b"\x90", "record_unreadable", id="without a version"),
        pytest.param(with_field(0, MESSAGE_ID_VERSION + 1), "record_version_unknown", id="a newer version"),
        pytest.param(with_field(1, b"short"), "record_field_invalid", id="id is no UUID"),
        pytest.param(with_field(3, "../anna"), "record_field_invalid", id="client id with a path in it"),
        pytest.param(with_field(3, "a" * 65), "record_field_invalid", id="client id too long"),
        pytest.param(with_field(5, -1), "record_field_invalid", id="before 1970"),
        pytest.param(with_field(7, "lost"), "record_field_invalid", id="unknown outcome"),
        pytest.param(with_field(8, b"\x09hello"), "frame_kind_unknown", id="request of an unknown kind"),
        pytest.param(with_field(8, b"\x00"), "frame_body_empty", id="request without a body"),
        pytest.param(with_field(8, b"\x00\xff"), "frame_text_invalid", id="request that is no UTF-8"),
        pytest.param(with_field(9, b"\x00\x00"), "frame_truncated", id="response cut off"),
        pytest.param(with_field(9, bytes(9)), "frame_body_empty", id="response without a text"),
    ],
)
async def test_a_bad_record_is_refused_and_its_neighbours_are_not(pod: Pod, record: bytes, code: str) -> None:
    before, after = exchange("before"), rich_exchange()
    answer = (await pod.post(before, record, after)).json()["results"]
    assert [result["outcome"] for result in answer] == ["stored", "refused", "stored"]
    assert (answer[1]["id"], answer[1]["code"]) == (None, code)
    assert answer[1]["detail"]
    assert (await pod.json(f"/v1/sessions/{SESSION}"))["message_count"] == 4
    assert await pod.metric('chatbot_history_exchanges_total{outcome="refused"}') == 1


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xc1", id="no MessagePack"),
        pytest.param(encode_batch([GOOD])[:-1], id="cut off"),
        pytest.param(encode_batch([GOOD]) + b"\x00", id="something behind it"),
        pytest.param(GOOD, id="a record, not in a batch"),
        pytest.param(msgpack.packb({"records": [GOOD]}), id="a map"),
        pytest.param(msgpack.packb([1, 2]), id="numbers"),
        pytest.param(b"\x91" * 5000, id="nested deeply"),
        pytest.param(encode_batch([b""] * 10_001), id="too many records"),
        pytest.param(b'{"results": []}', id="JSON"),
    ],
)
async def test_what_is_no_batch_is_a_bad_request(pod: Pod, body: bytes) -> None:
    check_problem(await pod.http.post("/v1/exchanges", content=body, headers=MSGPACK), 400, "batch_unreadable")


async def test_an_empty_batch_is_fine(pod: Pod) -> None:
    assert await pod.ingest() == []


@pytest.mark.parametrize("kind", ["", "application/json", "application/octet-stream", "text/msgpack"])
async def test_another_content_type_is_not_supported(pod: Pod, kind: str) -> None:
    answer = await pod.http.post("/v1/exchanges", content=encode_batch([GOOD]), headers={"content-type": kind})
    check_problem(answer, 415, "content_type_unsupported", detail="application/msgpack")


async def test_a_content_type_may_have_parameters_and_any_case(pod: Pod) -> None:
    headers = {"content-type": "Application/MsgPack ; version=1"}
    assert (await pod.http.post("/v1/exchanges", content=b"\x90", headers=headers)).status_code == 200


async def test_the_limit_of_a_batch_is_exact(tmp_path: Path) -> None:
    body = encode_batch([GOOD] * 10)
    async with open_pod(tmp_path / "fits", max_batch_bytes=len(body)) as pod:
        assert (await pod.http.post("/v1/exchanges", content=body, headers=MSGPACK)).status_code == 200
    async with open_pod(tmp_path / "small", max_batch_bytes=len(body) - 1) as pod:
        answer = await pod.http.post("/v1/exchanges", content=body, headers=MSGPACK)
        check_problem(answer, 413, "batch_too_large", detail=str(len(body) - 1))
        assert (await pod.json("/v1/clients/anna/sessions"))["sessions"] == []


async def test_no_more_is_read_than_a_batch_may_have(tmp_path: Path) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while read < 1_000_000:
            read += 1000
            yield bytes(1000)

    async with open_pod(tmp_path / "data", max_batch_bytes=4096) as pod:
        answer = await pod.http.post("/v1/exchanges", content=endless(), headers=MSGPACK)
        check_problem(answer, 413, "batch_too_large")
    assert read <= 6000


async def test_a_batch_that_is_cut_off_leaves_nothing(pod: Pod) -> None:
    body = encode_batch([GOOD])
    scope = {"type": "http", "method": "POST", "path": "/v1/exchanges", "query_string": b"", "headers": []}
    scope["headers"] = [(b"content-type", b"application/msgpack")]
    incoming = iter([{"type": "http.request", "body": body[:20], "more_body": True}, {"type": "http.disconnect"}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(incoming)

    async def send(message: Any) -> None:
        sent.append(message)

    await pod.history.app(scope, receive, send)
    assert sent[0]["status"] == 400
    assert (await pod.json("/v1/clients/anna/sessions"))["sessions"] == []


@pytest.mark.parametrize("failure", [StoreUnavailable, StoreUnusable])
async def test_without_the_message_store_nothing_is_taken_and_later_everything(
    pod: Pod, failure: type[Exception]
) -> None:
    batch = [exchange("one"), rich_exchange()]
    pod.store.failure = failure
    answer = await pod.post(*batch)
    body = check_problem(answer, 503, "store_unavailable", detail="the store of messages")
    assert "secret" not in str(body)
    assert answer.headers["retry-after"] == "2"
    assert await pod.metric('chatbot_history_store_errors_total{store="messages"}') == 1
    pod.store.failure = None
    assert await pod.ingest(*batch) == ["stored", "stored"]


async def test_without_the_media_store_no_message_is_kept_before_its_media(pod: Pod) -> None:
    batch = [exchange("one"), rich_exchange()]
    pod.blobs.failure = BlobsUnavailable
    check_problem(await pod.post(*batch), 503, "store_unavailable", detail="the store of media")
    assert await pod.metric('chatbot_history_store_errors_total{store="media"}') == 1
    assert (await pod.json(f"/v1/sessions/{SESSION}/messages"))["messages"] == []
    pod.blobs.failure = None
    assert await pod.ingest(*batch) == ["stored", "stored"]


async def test_texts_need_no_media_store(pod: Pod) -> None:
    pod.blobs.failure = BlobsUnavailable
    assert await pod.ingest(exchange()) == ["stored"]


async def test_a_session_id_that_two_others_were_first_to_use_is_refused_and_spoils_no_batch(pod: Pod) -> None:
    """Somebody can work out a client's second choice; the relay must not try for ever."""
    others = [exchange(), exchange(client_id="carl", session_id=foreign_session(SESSION, "ben"))]
    assert await pod.ingest(*others) == ["stored", "stored"]
    answer = (await pod.post(exchange(client_id="ben"), exchange(client_id="dora"))).json()["results"]
    assert (answer[0]["outcome"], answer[0]["code"]) == ("refused", "session_taken")
    assert answer[1]["outcome"] == "stored"


async def test_ids_need_not_be_of_version_7(pod: Pod) -> None:
    plain = exchange()._replace(id=UUID(int=1))
    assert await pod.ingest(plain) == ["stored"]
    assert (await pod.json(f"/v1/messages/{plain.id}.request"))["text"] == "hello"
