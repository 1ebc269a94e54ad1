"""Text that YAML would read as something else stays text, or is refused: numbers, words such as true, signs, lines."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pytest

from tests.charts.cases import SCRIPT
from tests.charts.kubernetes import NEWEST, is_custom, mistakes
from tests.charts.release import CHATBOT, merged, release, values_file
from tests.charts.test_empty_values import MUCH, REFUSED, SCALED, outcome

ODD = ["123", "1e3", "true", "~", "-", "a: b", "{a}", '"a', "a\nb: c"]
SECRETS = {"s3": {"existingSecret": "keys"}, "auth": {"mediaAddressSecretsKey": "addresses"}}
NAMES = {"chat": {"serviceAccount": {"create": False, "name": "mine"}, "priorityClassName": "high"}}
ALL = merged(MUCH, SECRETS, NAMES, {"image": {"pullSecrets": ["login"]}, "uninstall": {"serviceAccountName": "mine"}})


def _texts(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _texts(value, (*path, key))
        elif isinstance(value, str):
            yield (*path, key)


TEXTS = [*_texts(values_file(CHATBOT / "values.yaml"))]


def _check(values: Mapping[str, Any]) -> None:
    made = outcome(values)
    if isinstance(made, str):
        assert REFUSED.search(made)
        return
    assert [wrong for one in made.objects if not is_custom(one) for wrong in mistakes(one, NEWEST)] == []
    for one in made.objects:
        assert isinstance(one["metadata"]["name"], str)
        assert all(isinstance(value, str) for value in one["metadata"]["labels"].values())


def _at(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return dict(value)


@cache
def _refused(odd: str) -> set[str]:
    """Return the places of all texts that the schema refuses when they are this one. It names them all at once."""
    made = outcome(merged(ALL, *(_at(path, odd) for path in TEXTS)))
    assert isinstance(made, str)
    return set(re.findall(r"at '/([^']+)'", made))


@pytest.mark.parametrize("path", TEXTS, ids=".".join)
def test_text_stays_text_or_is_refused(path: tuple[str, ...]) -> None:
    for odd in ODD:
        if "/".join(path) not in _refused(odd):
            _check(merged(ALL, _at(path, odd)))


@pytest.mark.parametrize("odd", ODD)
def test_items_of_lists_stay_text_or_are_refused(odd: str) -> None:
    _check(merged(ALL, {"image": {"pullSecrets": [odd]}}))
    _check(merged(ALL, {"gateway": {"hostnames": [odd]}}))
    _check(merged(ALL, {"commonLabels": {"team": odd}, "commonAnnotations": {"team": odd}}))
    _check(merged(SCALED, {"chat": {"podLabels": {"team": odd}, "nodeSelector": {"disk": odd}}}))


@pytest.mark.parametrize(
    "script", [f"  # indented\n{SCRIPT}", f"\n\n{SCRIPT}", f"\t{SCRIPT}", SCRIPT.rstrip(), "ä: ${x} \\n"]
)
def test_a_script_arrives_as_it_was_written(script: str) -> None:
    made = release(merged(MUCH, {"chat": {"botScript": script}}))
    assert made.one("ConfigMap", "-chat-bot")["data"]["script.toml"] == script
