"""What a client saw answered is in history, once, whatever happened to the pod that answered."""

import asyncio
import contextlib
import json
import signal
from pathlib import Path
from uuid import uuid4

from websockets.exceptions import ConnectionClosed

from devtools.stack import Stack, StoreAddresses, open_stack
from devtools.watching import eventually, metric
from frameproto import Request as Asked
from frameproto import RequestKind, decode_response, encode_request
from tests.e2e.talking import VOICE, ask, historian, let_in, pod_of, visit


async def test_killed_right_after_a_reply_it_delivers_the_exchange_once_when_it_is_back(
    fresh_stores: StoreAddresses, tmp_path: Path
) -> None:
    with open_stack(tmp_path, fresh_stores, name=f"kill-{uuid4().hex[:6]}") as stack:
        async with historian(stack) as history:
            for pod in stack.history:  # history must not have it before the pod is gone
                pod.kill(signal.SIGSTOP)
            with contextlib.suppress(ConnectionClosed):
                async with visit(stack, "anna") as anna:
                    texts = [(await ask(anna, RequestKind.TEXT, f"number {n}".encode())).text for n in range(5)]
                    spoken = await ask(anna, RequestKind.VOICE, VOICE)
                    victim = pod_of(stack, "anna")
                    stack.chat[victim].kill()
            assert stack.chat[victim].process.wait(60) == -signal.SIGKILL
            for pod in stack.history:
                pod.kill(signal.SIGCONT)
            stack.restart_chat(victim)
            messages = await history.messages("anna", 12)
            assert [m["text"] for m in messages if m["direction"] == "reply"] == [*texts, spoken.text]
            assert await history.media(messages[-1]["media"]["voice"]["href"]) == spoken.voice
            ports = [pod.ports["chat-metrics"] for pod in stack.chat]
            await eventually(lambda: _all_delivered(ports), "the outboxes to be empty")
            assert len(await history.messages("anna", 12)) == 12


async def test_a_pod_that_is_told_to_stop_answers_closes_with_1012_and_leaves_nothing_behind(
    fresh_stores: StoreAddresses, tmp_path: Path
) -> None:
    chat = {"CHAT_BOT_TYPING_SECONDS": 0.3, "CHAT_DRAIN_SPREAD_SECONDS": 0.5}
    with open_stack(tmp_path, fresh_stores, name=f"drain-{uuid4().hex[:6]}", chat=chat) as stack:
        answered: dict[str, list[str]] = {}
        codes: list[int | None] = []

        async def chatter(client_id: str) -> None:
            answered[client_id] = []
            for _ in range(2):  # it comes back once, wherever the balancer sends it
                with contextlib.suppress(ConnectionClosed):
                    async with let_in(stack, client_id) as talk:
                        for _ in range(6):
                            said = f"{uuid4()}"
                            await talk.send(encode_request(Asked(RequestKind.TEXT, f"say {said}".encode())))
                            frame = await talk.recv()
                            assert isinstance(frame, bytes)
                            assert said in decode_response(frame).text
                            answered[client_id].append(f"say {said}")
                        continue
                codes.append(talk.close_code)

        async def stop_one() -> int:
            await eventually(lambda: _count(answered, 10), "conversations under way")
            return await asyncio.to_thread(stack.chat[0].stop)

        clients = [f"talker-{number}" for number in range(10)]
        async with asyncio.TaskGroup() as tasks:
            stopping = tasks.create_task(stop_one())
            for client in clients:
                tasks.create_task(chatter(client))
        assert stopping.result() == 0
        assert codes, "some conversations were on the pod that stopped"
        assert set(codes) == {1012}
        async with historian(stack) as history:
            for client in clients:
                messages = await history.messages(client, 2 * len(answered[client]))
                kept = [m["text"] for m in messages if m["direction"] == "request"]
                assert sorted(kept) == sorted(answered[client])


async def test_a_second_process_on_the_same_folder_is_refused_in_one_line(stack: Stack) -> None:
    folder = stack.chat_settings[0]["CHAT_DATA_DIR"]
    process = await asyncio.create_subprocess_exec(
        "env",
        "CHAT_PORT=0",
        "CHAT_METRICS_PORT=0",
        f"CHAT_DATA_DIR={folder}",
        str(stack.chat[0].process.args[0]),  # type: ignore[index]
        "-m",
        "chat_service",
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    lines = [line for line in errors.decode().splitlines() if not _is_log(line)]
    assert process.returncode == 1
    assert len(lines) == 1
    assert "in use by another process" in lines[0]


def _is_log(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


async def _all_delivered(ports: list[int]) -> bool:
    return sum([await metric(port, "chatbot_outbox_records") for port in ports]) == 0


async def _count(answered: dict[str, list[str]], wanted: int) -> bool:
    return sum(len(texts) for texts in answered.values()) >= wanted
