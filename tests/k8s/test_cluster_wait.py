"""The tests on a cluster tell within seconds what will not change by itself: a pod that fits on no node."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import kubectl as module
from tests.cluster.kubectl import Kubectl, short_of


def pod(name: str, **condition: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"conditions": [{"type": "PodScheduled", **condition}]}}


SHORT = pod("judge", status="False", reason="Unschedulable", message="0/1 nodes are available: 1 Insufficient cpu.")


def test_a_pod_that_fits_nowhere_is_told_apart() -> None:
    assert short_of(SHORT) == "judge: 0/1 nodes are available: 1 Insufficient cpu."
    assert short_of(pod("worker", status="True")) is None
    assert short_of(pod("claims", status="False", message="pod has unbound PersistentVolumeClaims")) is None
    assert short_of({"metadata": {"name": "new"}}) is None


@pytest.mark.parametrize(
    ("pods", "said"), [([SHORT], "Insufficient cpu"), ([], "not within 1 s")], ids=["short", "slow"]
)
def test_a_wait_ends_when_a_pod_fits_nowhere(
    pods: list[dict[str, Any]], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = tmp_path / "kubectl.py"
    stand_in.write_text(f"print({json.dumps({'items': pods})!r})")
    monkeypatch.setenv("KUBECTL", f"{sys.executable} {stand_in}")
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(module, "SHORT_SECONDS", 0.0)
    patience = 600.0 if pods else 1.0

    with pytest.raises(AssertionError, match=said):
        Kubectl("rooms").wait_for(lambda: False, "the judge to begin", patience)
