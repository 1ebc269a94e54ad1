"""The README of frameproto: its example runs, its tree is the tree."""

import re
from pathlib import Path

import pytest

from frameproto import Response, ResponseKind, encode_response, error_response
from tests.frameproto.vectors import leaves

README = (Path(__file__).parents[2] / "libs" / "frameproto" / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("received", "printed"),
    [
        pytest.param(encode_response(Response(ResponseKind.VOICE, "Hi", b"mp3")), "Hi 3 0", id="voice"),
        pytest.param(encode_response(error_response("busy", "later")), "busy later", id="error"),
        pytest.param(b"", "frame_empty The frame has no bytes", id="unreadable"),
    ],
)
def test_the_example_runs(received: bytes, printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert example is not None
    exec(example[1], {"frame_from_server": received})
    assert capsys.readouterr().out.startswith(printed)


def test_the_tree_is_the_tree() -> None:
    assert dict(re.findall(r"[├└]── (\w+) +(\w+)", README)) == {leaf.__name__: leaf.code for leaf in leaves()}
