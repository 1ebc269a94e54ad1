"""The images of the end-to-end tests.

CHATBOT_IMAGE_BUILD is a command that builds an image and puts it where the cluster finds it. It is called as
`COMMAND IMAGE:TAG CONTEXT --file DOCKERFILE [--target TARGET] [--build-arg NAME=VALUE]…`; without one, the images
must be there already. BASE_IMAGE is handed on.
"""

import os
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PREFIX = os.environ.get("CHATBOT_IMAGE_PREFIX", "localhost/")
OLD, NEW = "e2e-1", "e2e-2"
"""Two versions, the second of which takes the place of the first in an upgrade."""


@dataclass(frozen=True)
class Image:
    """One image by its parts."""

    name: str
    dockerfile: str
    target: str | None = None

    @property
    def repository(self) -> str:
        """What a pod calls it, without the tag."""
        return f"{PREFIX}{self.name}"

    def build(self, tag: str) -> None:
        """Build it, if there is a command for it."""
        command = shlex.split(os.environ.get("CHATBOT_IMAGE_BUILD", ""))
        if not command:
            return
        base = os.environ.get("BASE_IMAGE")
        options = ["--file", str(ROOT / self.dockerfile), "--build-arg", f"VERSION={tag}"]
        options += ["--target", self.target] if self.target else []
        options += ["--build-arg", f"BASE_IMAGE={base}"] if base else []
        done = subprocess.run(
            [*command, f"{self.repository}:{tag}", str(ROOT), *options], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{self.name} was not built:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


CHAT = Image("chatbot-chat", "apps/chat/Dockerfile", "run")
SPEECH = Image("chatbot-chat-speech", "apps/chat/Dockerfile", "speech")
HISTORY = Image("chatbot-history", "apps/history/Dockerfile", "run")
STORES = Image("chatbot-test-stores", "tests/cluster/stores/Dockerfile")
LOADTEST = Image("chatbot-loadtest", "loadtest/Dockerfile")


def build_all() -> None:
    """Build what the tests need."""
    for image in (CHAT, HISTORY):
        for tag in (OLD, NEW):
            image.build(tag)
    for image in (SPEECH, STORES, LOADTEST):
        image.build(OLD)
