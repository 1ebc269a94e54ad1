"""What checkov, which knows the usual mistakes, finds in the rendered charts."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.cases import SWITCHES
from tests.charts.release import release

CHECKOV = Path(os.environ.get("CHATBOT_CHARTS") or Path(__file__).parents[2] / ".venv-charts") / "bin/checkov"
MEANT: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("policies.yaml").read_text())
RENDERED = ["least", "values-prod.yaml"]  # between them every kind that checkov knows
pytestmark = pytest.mark.timeout(600)  # checkov takes long on a busy machine
TESTED = 400  # checks that pass at least; fewer would mean that checkov has not seen the objects


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if not CHECKOV.is_file():
        pytest.fail(f"there is no {CHECKOV}; run the tests by ./taskw charts:test, which installs it")
    folder = tmp_path_factory.mktemp("rendered")
    for name in RENDERED:
        (folder / f"{name}.yaml").write_text(yaml.safe_dump_all(release(SWITCHES[name]).objects))
    command = [str(CHECKOV), "--directory", str(folder), "--framework", "kubernetes", "--skip-download", "--quiet"]
    offline = {**os.environ, "CKV_TELEMETRY": "0", "BC_SOURCE": "none"}
    ended = subprocess.run(
        [*command, "--output", "json"], capture_output=True, text=True, check=False, timeout=580, env=offline
    )
    try:
        found: dict[str, Any] = json.loads(ended.stdout)
    except json.JSONDecodeError:
        pytest.fail(f"checkov: {ended.stdout}\n{ended.stderr}")
    return found


def test_checkov_finds_nothing_that_is_not_meant(report: dict[str, Any]) -> None:
    unmeant = [
        f"{one['check_id']} {one['check_name']}: {one['resource']} in {one['file_path']}"
        for one in report["results"]["failed_checks"]
        if _kind(one) not in MEANT.get(one["check_id"], {"of": []})["of"]
    ]
    assert unmeant == []
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > TESTED


def test_every_exception_is_needed_and_explained(report: dict[str, Any]) -> None:
    found: dict[str, set[str]] = {}
    for one in report["results"]["failed_checks"]:
        found.setdefault(one["check_id"], set()).add(_kind(one))
    assert found == {check: set(exception["of"]) for check, exception in MEANT.items()}
    assert all(exception["why"] for exception in MEANT.values())


def _kind(failed: dict[str, Any]) -> str:
    return str(failed["resource"]).partition(".")[0]
