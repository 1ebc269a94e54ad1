"""Rules of ids, and close codes with what they mean."""

import json
import re
from pathlib import Path
from uuid import UUID

import pytest

from frameproto.connection import (
    CLIENT_ID,
    CLIENT_ID_RULE,
    MAX_CLIENT_ID,
    UUID_RULE,
    CloseCode,
    Reconnect,
    is_client_id,
    is_wait_id,
    parse_uuid,
)
from tests.frameproto.test_protocol_doc import section

REPOSITORY = Path(__file__).parents[2]
NOTHING = "\N{EN DASH}"
SENTENCES = {
    Reconnect.NEVER: (NOTHING, "be corrected", "not send this message again"),
    Reconnect.AT_ONCE: ("reconnect at once, with jitter",),
    Reconnect.LATER: ("reconnect with back-off", NOTHING),
    Reconnect.WHEN_READY: ("reconnect when it has something to send", "reconnect when it can read"),
    Reconnect.FRESH_TOKEN: ("reconnect with a fresh token",),
}


@pytest.mark.parametrize("raw", ["a", "7", "anna", "A.b_c:d-e", "a" * MAX_CLIENT_ID])
def test_ids_of_clients(raw: str) -> None:
    assert is_client_id(raw)


@pytest.mark.parametrize("raw", ["", ".a", "-a", "a b", "ä", "a/b", "a\n", "a" * (MAX_CLIENT_ID + 1), "\u0661"])
def test_what_is_no_id_of_a_client(raw: str) -> None:
    assert not is_client_id(raw)


@pytest.mark.parametrize("raw", ["0123456789abcdef", "A-Z_a-z-0-9-0123", "a" * 64])
def test_names_of_places_in_the_queue(raw: str) -> None:
    assert is_wait_id(raw)


@pytest.mark.parametrize("raw", ["", "0123456789abcde", "a" * 65, "0123456789.abcdef", "0123456789abcdef\n", "ä" * 16])
def test_what_names_no_place_in_the_queue(raw: str) -> None:
    assert not is_wait_id(raw)


def test_the_rule_in_words_names_every_character_that_the_pattern_takes() -> None:
    taken = {character for character in map(chr, range(128)) if CLIENT_ID.fullmatch(f"a{character}")}
    _, _, rule = CLIENT_ID_RULE.partition(" of ")
    ranges, _, _ = rule.partition(",")
    told = {chr(code) for a, b in re.findall(r"(\w)-(\w)", ranges) for code in range(ord(a), ord(b) + 1)}
    assert taken == told | set("._:-")
    assert set("._:-") <= set(ranges.split())


def test_the_chart_has_the_same_rule() -> None:
    assert json.dumps(f"^{CLIENT_ID.pattern}$") in (REPOSITORY / "charts/chatbot/values.schema.json").read_text("utf-8")


def test_uuids_in_their_usual_form() -> None:
    raw = "0197b0c8-0000-7000-8000-00000000000A"
    assert parse_uuid(raw) == parse_uuid(raw.lower()) == UUID(raw)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "0197b0c8000070008000000000000001",
        "{0197b0c8-0000-7000-8000-000000000001}",
        "urn:uuid:0197b0c8-0000-7000-8000-000000000001",
        "0197b0c8-0000-7000-8000-00000000000g",
        "0197b0c8-0000-7000-8000-000000000001\n",
    ],
)
def test_other_forms_of_uuids_are_refused(raw: str) -> None:
    with pytest.raises(ValueError, match=UUID_RULE):
        parse_uuid(raw)


def test_close_codes_advise_what_the_page_says() -> None:
    rows = re.findall(r"^\| (\d{4}) \| [^|]+ \| ([^|]+) \|$", section("Close codes"), re.MULTILINE)
    advice = {int(code): said for code, said in rows}
    assert advice.keys() == {code.value for code in CloseCode}
    assert all(advice[code.value] in SENTENCES[code.reconnect] for code in CloseCode)


def test_a_close_code_equals_its_number_and_has_a_sentence() -> None:
    assert CloseCode(1012) is CloseCode.DRAINING
    assert {f"{code:d}" for code in CloseCode} >= {"1000", "4003"}
    assert len({code.meaning for code in CloseCode}) == len(CloseCode)
