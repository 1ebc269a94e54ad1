"""Charts rendered without a cluster: values in, objects out, or the sentence by which they are refused."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
import yaml

CHARTS = Path(__file__).resolve().parents[2] / "charts"
CHATBOT = CHARTS / "chatbot"
os.environ.setdefault("GOGC", "400")  # a third of the CPU time of a rendering would be Go's collector
NAME, NAMESPACE = "talk", "rooms"  # unlike any default, so that none can be mistaken for it

Object = dict[str, Any]
Values = Mapping[str, Any]


@cache
def chart(path: Path = CHATBOT) -> helm.Chart:
    """Load a chart once."""
    return helm.Chart.load(path)


@cache
def values_file(path: Path) -> dict[str, Any]:
    """Read a file of values once; nobody changes what it returns."""
    values: dict[str, Any] = yaml.load(path.read_text(), yaml.CSafeLoader)
    return values


def merged(*several: Values) -> dict[str, Any]:
    """Return values laid over each other, the later ones on top, as Helm does it."""
    result: dict[str, Any] = {}
    for values in several:
        for key, value in values.items():
            before = result.get(key)
            deep = isinstance(before, Mapping) and isinstance(value, Mapping)
            result[key] = merged(before, value) if deep else value  # type: ignore[arg-type]
    return result


@dataclass(frozen=True)
class Release:
    """What a chart makes of some values."""

    objects: list[Object]
    notes: str

    def all(self, kind: str) -> list[Object]:
        """Return the objects of a kind."""
        return [found for found in self.objects if found["kind"] == kind]

    def one(self, kind: str, name: str = "") -> Object:
        """Return the only object of a kind, or the one whose name ends so."""
        (found,) = (found for found in self.all(kind) if found["metadata"]["name"].endswith(name))
        return found

    def kinds(self) -> set[str]:
        """Return the kinds that there are."""
        return {found["kind"] for found in self.objects}

    def workloads(self) -> list[Object]:
        """Return what runs for as long as the release is there."""
        return [*self.all("Deployment"), *self.all("StatefulSet")]

    def workload(self, part: str) -> Object:
        """Return chat or history."""
        (found,) = (found for found in self.workloads() if found["metadata"]["name"].endswith(f"-{part}"))
        return found

    def pods(self) -> Iterator[tuple[str, Object]]:
        """Yield the name and the template of every kind of pod, those of tests as well."""
        for workload in self.workloads():
            yield workload["metadata"]["name"], workload["spec"]["template"]
        for job in self.all("Job"):
            yield job["metadata"]["name"], job["spec"]["template"]
        for pod in self.all("Pod"):
            yield pod["metadata"]["name"], pod

    def container(self, part: str) -> Object:
        """Return the container of chat or history."""
        (found,) = (one for one in self.workload(part)["spec"]["template"]["spec"]["containers"] if one["name"] == part)
        return dict(found)


def release(values: Values, path: Path = CHATBOT) -> Release:
    """Render a chart; the same values once only."""
    return _rendered(json.dumps(values), path)


@cache
def _rendered(values: str, path: Path) -> Release:
    rendered = chart(path).render(json.loads(values), name=NAME, namespace=NAMESPACE)
    notes = "".join(text for name, text in rendered.items() if name.endswith("NOTES.txt"))
    manifests = [text for name, text in sorted(rendered.items()) if name.endswith(".yaml")]
    return Release([found for text in manifests for found in _objects(text)], notes)


@cache
def _objects(manifest: str) -> list[Object]:
    """Parse a manifest once: most are the same whatever the values."""
    return [found for found in yaml.load_all(manifest, yaml.CSafeLoader) if found]


def refusal(values: Values, path: Path = CHATBOT) -> str:
    """Return the sentence by which values are refused."""
    with pytest.raises((helm.HelmRenderError, helm.HelmValuesError)) as refused:
        chart(path).render(dict(values), name=NAME, namespace=NAMESPACE)
    return str(refused.value)


def text(found: object) -> str:
    """Return an object as text to search in."""
    return json.dumps(found)
