"""The README of frameproto: its examples run as printed, its tree is the tree."""

import re
import subprocess
import sys

from tests.frameproto.vectors import leaves
from tests.support.pages import ROOT, python_examples

PAGE = "libs/frameproto/README.md"
README = (ROOT / PAGE).read_text("utf-8")


def printed(example: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_examples_print_what_they_say() -> None:
    frames, media, messages = python_examples(PAGE)
    assert printed(frames) == "Hi 0 0\n"
    assert printed(media) == "WAV audio/wav\n"
    assert printed(messages) == "True Hi\n"
    for example in (frames, media, messages):
        assert f"# {printed(example).strip()}" in example


def test_the_first_example_tells_of_errors_too() -> None:
    frames, *_ = python_examples(PAGE)
    (frame,) = re.findall(r"^frame_from_server = (.*)$", frames, re.MULTILINE)
    error = r'b"\x03\0\0\0\x0b\0\0\0\0busy: later"'
    assert printed(frames.replace(frame, error)) == "busy later\n"
    assert printed(frames.replace(frame, 'b""')).startswith("frame_empty The frame has no bytes")


def test_the_tree_is_the_tree() -> None:
    assert dict(re.findall(r"[├└]── (\w+) +(\w+)", README)) == {leaf.__name__: leaf.code for leaf in leaves()}
