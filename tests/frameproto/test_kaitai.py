"""The Kaitai Struct description agrees with the Python code in kinds, fields and sizes."""

from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest
import yaml

from frameproto import RequestKind, ResponseKind
from frameproto.responses import HEADER

KSY = Path(__file__).parents[2] / "libs" / "frameproto" / "frameproto.ksy"
SIZES = {"u1": 1, "u4": 4}


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(KSY.read_text("utf-8"))
    return loaded


@pytest.mark.parametrize(("name", "kinds"), [("request_kind", RequestKind), ("response_kind", ResponseKind)])
def test_the_kinds_are_those_of_the_code(described: dict[str, Any], name: str, kinds: type[IntEnum]) -> None:
    assert described["enums"][name] == {kind.value: kind.name.lower() for kind in kinds}


@pytest.mark.parametrize(("name", "kinds"), [("request", RequestKind), ("response", ResponseKind)])
def test_only_the_known_kinds_are_valid(described: dict[str, Any], name: str, kinds: type[IntEnum]) -> None:
    first = described["types"][name]["seq"][0]
    assert (first["id"], first["type"], first["enum"]) == ("kind", "u1", f"{name}_kind")
    assert first["valid"]["any-of"] == [f"{name}_kind::{kind.name.lower()}" for kind in kinds]


def test_the_fields_stand_in_the_order_of_the_wire(described: dict[str, Any]) -> None:
    fields = {name: [field["id"] for field in type_["seq"]] for name, type_ in described["types"].items()}
    assert fields == {
        "request": ["kind", "body"],
        "response": ["kind", "text_size", "voice_size", "text", "voice", "image"],
    }


def test_the_header_has_the_size_and_the_byte_order_of_the_code(described: dict[str, Any]) -> None:
    fields = described["types"]["response"]["seq"]
    header = [SIZES[field["type"]] for field in fields if field.get("type") in SIZES]
    assert header == [1, 4, 4]
    assert sum(header) == HEADER.size
    assert described["meta"]["endian"] == "be"
    assert HEADER.format.startswith(">")


def test_sizes_and_rest_are_bound_to_the_right_parts(described: dict[str, Any]) -> None:
    parts = {field["id"]: field for type_ in described["types"].values() for field in type_["seq"]}
    assert (parts["text"]["size"], parts["voice"]["size"]) == ("text_size", "voice_size")
    assert parts["body"]["size-eos"] is parts["image"]["size-eos"] is True
