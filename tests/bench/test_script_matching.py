"""The benchmark of the script, run as short as it can be."""

import json
from pathlib import Path

import pytest

from bench.script_matching import MANY, main, script_of
from chat_service.bot.script import parse_script


def test_it_measures_few_and_many_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "found.json"
    assert main(["--repeats", "1", "--texts", "10", "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert found["ratio"] > 0
    assert len(found["cpu_us"]) == 5
    assert "300 rules, times 20" in capsys.readouterr().out


def test_its_script_has_as_many_rules_for_texts_as_it_says() -> None:
    assert sum(bool(rule.patterns) for rule in parse_script(script_of(MANY)).rules) == MANY
