"""Every Python example of every page is run by a test."""

import pytest

from tests.support.pages import ROOT, RUN_BY, pages, python_blocks


def test_every_page_with_examples_has_a_test_that_runs_them() -> None:
    assert {page for page in pages() if python_blocks(page)} == set(RUN_BY)


@pytest.mark.parametrize("module", sorted(set(RUN_BY.values())))
def test_that_test_asks_for_them(module: str) -> None:
    assert "python_examples(" in (ROOT / module).read_text("utf-8")


@pytest.mark.parametrize("page", sorted(RUN_BY))
def test_every_example_is_python(page: str) -> None:
    for number, example in enumerate(python_blocks(page), start=1):
        compile(example, f"{page}, example {number}", "exec")


def test_indented_blocks_are_found() -> None:
    assert "README.md" in set(pages())
    assert not any(page.startswith((".venv", "node_modules")) for page in pages())
