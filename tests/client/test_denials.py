"""Every denial has advice."""

import re

from chat_client.denials import DENIAL_ADVICE
from devtools.servers import ROOT
from frameproto.connection import TEMPORARY_DENIALS

NEVER_MET = {"websocket_key_malformed", "websocket_version_unsupported", "wait_id_malformed", "upgrade_required"}
"""Denials that this client gives no cause for; the last one says that it would be let in."""


def test_there_is_advice_for_every_denial_that_the_protocol_lists() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    table = page.split("### When there is no connection")[1].split("## Talking")[0]
    listed = {
        code
        for row in re.findall(r"^\| \d{3} \| ([^|]+) \|", table, re.MULTILINE)
        for code in re.findall(r"`(\w+)`", row)
    }
    assert listed >= TEMPORARY_DENIALS
    assert listed - DENIAL_ADVICE.keys() == NEVER_MET
