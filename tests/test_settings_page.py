"""docs/settings.md is what `./taskw docs:settings` would write, and other pages name settings that there are."""

import re

import pytest

from devtools.settings_page import PAGE, SERVICES, page
from servicekit.settings.fields import variable_name
from tests.support.pages import ROOT, pages

KNOWN = {variable_name(cls, name) for _, cls in SERVICES for name in cls.model_fields}
OF_OTHERS = {
    "CHAT_CLIENT_ID",
    "CHAT_CONFIG",
    "CHAT_TIME_ZONE",
    "CHAT_TOKEN",
    "CHAT_TOKEN_FILE",
    "CHAT_TOKEN_SECRET",
    "CHAT_URL",
}
"""Variables of the command-line client."""


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == page(), "run ./taskw docs:settings"


def test_every_setting_is_explained() -> None:
    for _, cls in SERVICES:
        assert [name for name, field in cls.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("name", [name for name in pages() if name.startswith("docs/") and "/adr/" not in name])
def test_pages_name_settings_that_there_are(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    named = set(re.findall(r"`((?:CHAT|HISTORY)_[A-Z0-9_]*[A-Z0-9])(?:=[^`]*)?`", text))
    assert named - KNOWN - OF_OTHERS == set()
