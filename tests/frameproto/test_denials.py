"""The codes of denials: each with its status, its sentence, and when a client tries again."""

import pytest

from frameproto.connection import Reconnect
from frameproto.denials import TEMPORARY_DENIALS, DenialCode


def test_a_code_equals_its_word_and_has_a_sentence_of_its_own() -> None:
    assert all(code.value == code.name.lower() for code in DenialCode)
    assert len({code.meaning for code in DenialCode}) == len(DenialCode)


@pytest.mark.parametrize("code", DenialCode)
def test_a_client_tries_again_where_the_status_lets_it(code: DenialCode) -> None:
    match code.status:
        case 400 | 403 | 409:
            expected = {Reconnect.NEVER}
        case 401:
            expected = {Reconnect.FRESH_TOKEN}
        case 426:
            expected = {Reconnect.NEVER, Reconnect.AT_ONCE}
        case _:
            expected = {Reconnect.LATER}
    assert code.reconnect in expected
    assert (code in TEMPORARY_DENIALS) == (code.reconnect is Reconnect.LATER)
