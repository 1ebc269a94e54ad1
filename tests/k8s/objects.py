"""Reads Kubernetes objects from files."""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"


def objects(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file, or of all that a kustomization names."""
    if path.is_dir():
        kustomization = yaml.safe_load((path / "kustomization.yaml").read_text())
        return [found for name in kustomization["resources"] for found in objects(path / name)]
    return [found for found in yaml.safe_load_all(path.read_text()) if found]


def containers(found: list[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the containers of all workloads, each behind the pod it is in."""
    pods = [item["spec"]["template"]["spec"] for item in found if "template" in item.get("spec", {})]
    return [(pod, container) for pod in pods for container in pod["containers"]]
