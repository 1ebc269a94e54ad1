"""The AsyncAPI document of the WebSocket side is valid, and says what the code says."""

import json
from collections.abc import Iterator
from enum import IntEnum
from typing import Any

import jsonschema
import pytest
import yaml

from devtools.servers import ROOT
from frameproto import RequestKind, ResponseKind
from frameproto.connection import CONNECT_PATH, SUBPROTOCOL_V1, SUBPROTOCOL_V2, CloseCode, Parameter
from frameproto.denials import DenialCode
from frameproto.v2 import ClientType, Progress, ServerType

DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "asyncapi.yaml").read_text("utf-8"))
CHANNEL = DOCUMENT["channels"]["connect"]
SPECIFICATION = (
    ROOT / "devtools/javascript/node_modules/@asyncapi/specs/schemas" / f"{DOCUMENT['asyncapi']}-without-$id.json"
)


def test_it_is_valid() -> None:
    if not SPECIFICATION.is_file():
        pytest.skip("ASYNCAPI IS NOT CHECKED: there is no npm that could install its schema")
    validator = jsonschema.Draft7Validator(json.loads(SPECIFICATION.read_text("utf-8")))
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(DOCUMENT)] == []
    broken = {**DOCUMENT, "operations": {"take": {"action": "guess", "channel": {"$ref": "#/channels/connect"}}}}
    assert list(validator.iter_errors(broken))


def references(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"]
        for each in part.values():
            yield from references(each)
    elif isinstance(part, list):
        for each in part:
            yield from references(each)


def test_what_it_refers_to_is_there() -> None:
    found = list(references(DOCUMENT))
    assert found
    for reference in found:
        part: Any = DOCUMENT
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]


@pytest.mark.parametrize(
    ("message", "table", "members"),
    [
        ("request", "x-kinds", RequestKind),
        ("response", "x-kinds", ResponseKind),
        ("clientFrame", "x-types", ClientType),
        ("serverFrame", "x-types", ServerType),
        ("serverFrame", "x-progress", Progress),
    ],
)
def test_numbers_are_those_of_the_code(message: str, table: str, members: type[IntEnum]) -> None:
    found = DOCUMENT["components"]["messages"][message][table]
    assert found == {member.value: member.name.lower() for member in members}


def test_the_connection_is_that_of_the_code() -> None:
    assert CHANNEL["address"] == CONNECT_PATH
    assert CHANNEL["x-subprotocols"] == [SUBPROTOCOL_V1, SUBPROTOCOL_V2]
    assert set(CHANNEL["bindings"]["ws"]["query"]["properties"]) == {parameter.value for parameter in Parameter}
    assert set(CHANNEL["x-close-codes"]) == {int(code) for code in CloseCode}


def test_the_denials_are_those_of_the_code() -> None:
    documented = [(status, code) for status, codes in CHANNEL["x-denials"].items() for code in codes]
    assert sorted(documented) == sorted((code.status, code.value) for code in DenialCode)


def test_the_descriptions_of_frames_are_there() -> None:
    for message in DOCUMENT["components"]["messages"].values():
        assert (ROOT / message["x-kaitai"]).is_file()
