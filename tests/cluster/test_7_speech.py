"""Chat that hears: the image with speech, as the chart takes it, understands a voice note in its pod."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chat.media.spoken import is_nearly, mp3_of
from tests.client.command import COMMAND, environment
from tests.cluster.entry import Entry
from tests.cluster.images import OLD, SPEECH
from tests.cluster.release import CHAT_PODS, Release, tell

SENTENCE = "Say good luck to everybody."

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def hearing(release: Release) -> Iterator[Release]:
    """The release with a pod that recognizes English, and speaks it better."""
    chat = {
        "replicas": 1,
        "speech": {"mode": "embedded"},
        "settings": {"CHAT_SPEECH_LANGUAGE": "en", "CHAT_VOICE_ENGINE": "hibari", "CHAT_SPEECH_SECONDS": 300},
        "image": {"speechRepository": SPEECH.repository},
        "resources": {"requests": {"cpu": "100m"}},  # a small node is enough
    }
    release.install(OLD, chat=chat)
    yield release
    release.uninstall()


def test_a_spoken_sentence_is_understood_and_kept(hearing: Release, entry: Entry, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(hearing.token("hearing"))
    (tmp_path / "note.mp3").write_bytes(mp3_of(SENTENCE))

    def client(*arguments: str) -> list[dict[str, Any]]:
        done = subprocess.run(
            [*COMMAND, *arguments, "--client-id", "hearing", "--json"],
            env=environment(CHAT_TOKEN_FILE=str(tmp_path / "token"), CHAT_HISTORY_URL=entry.history),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    begin = time.monotonic()
    (reply,) = client("send", "voice", entry.chat, str(tmp_path / "note.mp3"))
    took = time.monotonic() - begin
    assert (tmp_path / reply["voice"]).stat().st_size > 1000

    def kept() -> list[str]:
        return [message["text"] for message in client("history") if message["direction"] == "request"]

    hearing.kubectl.wait_for(lambda: len(kept()) == 1, "the voice note in history")
    (heard,) = kept()
    tell(f"a voice note was answered after {took:.1f} s; understood: {heard!r}; the bot: {reply['text']!r}")
    assert is_nearly(SENTENCE, heard)
    (pod,) = hearing.pods(CHAT_PODS)
    assert pod["spec"]["containers"][0]["image"] == f"{SPEECH.repository}:{OLD}"
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
