"""The Kaitai Struct descriptions, compiled to Python, read every shared vector as our own code does."""

import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from enum import IntEnum
from types import ModuleType
from typing import Any
from uuid import UUID

import kaitaistruct  # type: ignore[import-untyped]
import pytest
import yaml

from devtools.servers import ROOT
from frameproto import FrameError, RequestKind, ResponseKind, decode_request, decode_response
from frameproto.v2 import ClientType, Progress, ServerType, decode_client_frame, decode_server_frame
from tests.frameproto.vectors import cases, unhex

DESCRIPTIONS = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in (ROOT / "libs/frameproto").glob("*.ksy")}
COMPILER = ROOT / "devtools" / "kaitai"
NODE = shutil.which("node")
FROM_CLIENT, FROM_SERVER = 0, 1
LEFT_TO_READERS = {"frame_text_invalid", "frame_error_invalid"}
"""What Kaitai Struct cannot say, beside the size limit: strict UTF-8, and the form of an error's text."""
OURS: dict[str, Callable[..., object]] = {
    "requests.json": decode_request,
    "responses.json": decode_response,
    "v2_client.json": decode_client_frame,
    "v2_server.json": decode_server_frame,
}


class Compiled:
    """The classes made from the descriptions."""

    def __init__(self, v1: ModuleType, v2: ModuleType) -> None:
        self.v1: Any = v1.ChatbotFrame
        self.v2: Any = v2.ChatbotFrameV2

    def read(self, file: str, frame: bytes) -> Any:
        """Read a frame of the kind that a file of vectors has."""
        of, direction = {
            "requests.json": (self.v1, FROM_CLIENT),
            "responses.json": (self.v1, FROM_SERVER),
            "v2_client.json": (self.v2, FROM_CLIENT),
            "v2_server.json": (self.v2, FROM_SERVER),
        }[file]
        stream = kaitaistruct.KaitaiStream(kaitaistruct.BytesIO(frame))
        return of(self.v1.Direction(direction), stream).frame


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    if NODE is None or not (COMPILER / "node_modules").is_dir():
        pytest.skip("KAITAI IS NOT TESTED: there is no node, or no npm that could install the compiler")
    folder = tmp_path_factory.mktemp("kaitai")
    for name in DESCRIPTIONS:
        made = subprocess.run(
            [NODE, str(COMPILER / "compile.js"), name],
            input=json.dumps(DESCRIPTIONS),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (made.returncode, made.stderr) == (0, "")
        for file, source in json.loads(made.stdout).items():
            (folder / file).write_text(source, "utf-8")
    sys.path.insert(0, str(folder))
    try:
        return Compiled(importlib.import_module("chatbot_frame"), importlib.import_module("chatbot_frame_v2"))
    finally:
        sys.path.remove(str(folder))


def check_request(found: Any, vector: dict[str, Any]) -> None:
    body = vector["text"].encode() if "text" in vector else unhex(vector["body"])
    assert (found.kind, found.body) == (vector["kind"], body)


def check_response(found: Any, vector: dict[str, Any]) -> None:
    voice, image = (unhex(vector.get(part, "")) for part in ("voice", "image"))
    assert (found.kind, found.text, found.voice, found.image) == (vector["kind"], vector["text"].encode(), voice, image)


@pytest.mark.parametrize("vector", cases("requests.json", "valid"))
def test_request(compiled: Compiled, vector: dict[str, Any]) -> None:
    check_request(compiled.read("requests.json", unhex(vector["hex"])), vector)


@pytest.mark.parametrize("vector", cases("responses.json", "valid"))
def test_response(compiled: Compiled, vector: dict[str, Any]) -> None:
    check_response(compiled.read("responses.json", unhex(vector["hex"])), vector)


@pytest.mark.parametrize("vector", cases("v2_client.json", "valid"))
def test_client_frame(compiled: Compiled, vector: dict[str, Any]) -> None:
    found = compiled.read("v2_client.json", unhex(vector["hex"]))
    assert (found.type, UUID(bytes=found.message_id)) == (vector["type"], UUID(vector["message_id"]))
    if "kind" in vector:
        check_request(found.request, vector)
    else:
        assert not hasattr(found, "request")


@pytest.mark.parametrize("vector", cases("v2_server.json", "valid"))
def test_server_frame(compiled: Compiled, vector: dict[str, Any]) -> None:
    found = compiled.read("v2_server.json", unhex(vector["hex"]))
    assert (found.type, UUID(bytes=found.message_id)) == (vector["type"], UUID(vector["message_id"]))
    if "kind" in vector:
        check_response(found.response, vector)
    elif "progress" in vector:
        assert found.progress == vector["progress"]
    else:
        assert found.text == vector["text"].encode()


@pytest.mark.parametrize(
    ("file", "vector"),
    [pytest.param(file, *case.values, id=f"{file}-{case.id}") for file in OURS for case in cases(file, "invalid")],
)
def test_invalid_frames_are_refused(compiled: Compiled, file: str, vector: dict[str, Any]) -> None:
    frame = unhex(vector["hex"])
    code = vector["code"]
    if code == "frame_too_large":
        try:
            OURS[file](frame, max_bytes=len(frame))
        except FrameError as exc:
            code = exc.code
    if code in LEFT_TO_READERS | {"frame_too_large"}:
        compiled.read(file, frame)
        return
    with pytest.raises((kaitaistruct.ValidationFailedError, EOFError)):
        compiled.read(file, frame)


@pytest.mark.parametrize(
    ("description", "name", "kinds"),
    [
        ("frameproto", "request_kind", RequestKind),
        ("frameproto", "response_kind", ResponseKind),
        ("frameproto_v2", "client_type", ClientType),
        ("frameproto_v2", "server_type", ServerType),
        ("frameproto_v2", "progress", Progress),
    ],
)
def test_the_kinds_are_those_of_the_code(description: str, name: str, kinds: type[IntEnum]) -> None:
    assert DESCRIPTIONS[description]["enums"][name] == {kind.value: kind.name.lower() for kind in kinds}


def test_the_descriptions_say_of_which_version_they_are() -> None:
    titles = {name: described["meta"]["title"] for name, described in DESCRIPTIONS.items()}
    assert "chatbot.v1" in titles["frameproto"]
    assert "chatbot.v2" in titles["frameproto_v2"]
