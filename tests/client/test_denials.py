"""Every denial has advice."""

from chat_client.denials import DENIAL_ADVICE
from frameproto.denials import DenialCode

NEVER_MET = {
    DenialCode.WEBSOCKET_KEY_MALFORMED,
    DenialCode.WEBSOCKET_VERSION_UNSUPPORTED,
    DenialCode.WAIT_ID_MALFORMED,
    DenialCode.UPGRADE_REQUIRED,
}
"""Denials that this client gives no cause for; the last one says that it would be let in."""


def test_there_is_advice_for_every_denial() -> None:
    assert set(DenialCode) - DENIAL_ADVICE.keys() == NEVER_MET
