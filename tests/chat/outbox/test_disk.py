"""A real disk that is really full: a small one in memory, mounted by the test."""

import contextlib
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from chat_service.outbox import Outbox, OutboxUnwritable
from devtools.ports import free_port
from devtools.processes import running
from devtools.watching import eventually
from frameproto import Request, RequestKind, ResponseKind, decode_response, encode_request
from tests.chat.outbox.parts import BIG, append, drained, files, text_of
from tests.chat.relay_parts import History
from tests.support.disk import small_disk
from tests.support.exchanges import exchange

KIB = 1024


async def test_a_full_disk_refuses_records_whole_and_has_room_again_when_some_are_delivered(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2048 * KIB) as disk:
        outbox = Outbox.open(disk / "outbox", max_bytes=BIG)
        kept: list[str] = []
        refusals: list[str] = []
        for number in range(60):
            text = f"{number}:" + "x" * (number % 3 * 50 * KIB)
            try:
                await append(outbox, exchange(text))
                kept.append(text)
            except OutboxUnwritable as exc:
                refusals.append(str(exc))
        assert set(refusals) == {"the outbox cannot be written: No space left on device"}
        assert len(refusals) > 10
        assert len(kept) > 10
        assert outbox.depth == len(kept)
        assert files(disk / "outbox", "writing") == []
        texts: list[str] = []
        while len(texts) < len(kept) * 3 // 4:  # the first segment is delivered whole by then
            batch = await outbox.peek_batch(200 * KIB)
            assert batch is not None
            texts += [text_of(record) for record in batch.records]
            await outbox.done(batch)
        await append(outbox, exchange("y" * 90 * KIB))
        assert texts + await drained(outbox) == [*kept, "y" * 90 * KIB]
        assert outbox.refused == 0
        await outbox.close()


@pytest.mark.parametrize("limit", ["disk", "setting"])
async def test_a_client_is_told_and_what_was_answered_is_delivered_when_history_is_back(
    tmp_path: Path, limit: str
) -> None:
    """What the disk does not take is `storage_full`; what the setting does not allow is `busy`."""
    history, port = History(), free_port()
    with contextlib.ExitStack() as stack:
        disk = stack.enter_context(small_disk(tmp_path / "disk", 512 * KIB)) if limit == "disk" else tmp_path / "disk"
        settings = {
            "CHAT_PORT": 0,
            "CHAT_METRICS_PORT": 0,
            "CHAT_DATA_DIR": disk,
            "CHAT_HISTORY_URL": f"http://127.0.0.1:{port}",
            "CHAT_MAX_FRAME_BYTES": 256 * KIB,
            "CHAT_OUTBOX_MAX_BYTES": BIG if limit == "disk" else 512 * KIB,
        }
        pod = stack.enter_context(running("chat_service", tmp_path / "chat.log", settings))
        url = f"ws://127.0.0.1:{pod.ports['chat']}/connect?clientId=anna&timeZone=UTC"
        async with connect(url, compression=None) as anna:

            async def ask(text: str) -> tuple[ResponseKind, str]:
                await anna.send(encode_request(Request(RequestKind.TEXT, text.encode())))
                frame = await anna.recv()
                assert isinstance(frame, bytes)
                response = decode_response(frame)
                return response.kind, response.text

            answered: list[str] = []
            errors: set[str] = set()
            for number in range(60):
                text = f"say {number} " + "x" * 30 * KIB
                kind, said = await ask(text)
                if kind is ResponseKind.ERROR:
                    errors.add(said)
                else:
                    answered.append(text)
            code = "storage_full" if limit == "disk" else "busy"
            assert errors == {f"{code}: the answer could not be kept; send the message again later"}
            assert 5 < len(answered) < 30

            async def answers() -> bool:
                return (await ask("say again"))[0] is not ResponseKind.ERROR

            async with history.open(port):
                await eventually(answers, "room again")
                await eventually(lambda: len(history.kept) > len(answered), "the backlog in history")
            assert history.kept == [*answered, "say again"]
