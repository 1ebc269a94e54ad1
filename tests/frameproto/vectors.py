"""The shared test vectors of libs/frameproto/vectors, as pytest parameters."""

import json
from pathlib import Path
from typing import Any

import pytest

from frameproto import FrameError

FOLDER = Path(__file__).parents[2] / "libs" / "frameproto" / "vectors"


def load(file: str) -> dict[str, Any]:
    """A file of vectors."""
    loaded: dict[str, Any] = json.loads((FOLDER / file).read_text("utf-8"))
    return loaded


def cases(file: str, *groups: str) -> list[Any]:
    """One parameter for each vector of these groups, with its name as the id."""
    return [pytest.param(vector, id=vector["name"]) for group in groups for vector in load(file)[group]]


def unhex(spelled: str | list[str | dict[str, Any]]) -> bytes:
    """The bytes that a vector spells, as one hex string or in pieces."""
    pieces = [spelled] if isinstance(spelled, str) else spelled
    return b"".join(
        bytes.fromhex(piece) if isinstance(piece, str) else bytes.fromhex(piece["repeat"]) * piece["times"]
        for piece in pieces
    )


def limit(vector: dict[str, Any]) -> dict[str, int]:
    """The size limit of a vector as keyword argument; none means the usual one."""
    return {"max_bytes": vector["max_bytes"]} if "max_bytes" in vector else {}


def leaves(error: type[FrameError] = FrameError) -> list[type[FrameError]]:
    """The leaves of the exception tree."""
    below = error.__subclasses__()
    return [leaf for child in below for leaf in leaves(child)] if below else [error]
