"""The schemas by which an API server of some version would judge an object, strictly: unknown fields are mistakes."""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml
from kubernetes_validate.utils import schema_contents
from referencing import Registry, Resource

ROOT = Path(__file__).resolve().parents[2]
CUSTOM_SCHEMAS = Path(os.environ.get("CHATBOT_SCHEMAS") or ROOT / "../shared/schemas")
DESCRIBED = Path(__file__).with_name("custom_kinds.yaml")
OLDEST = "1.25.0"
NEWEST = kubernetes_validate.latest_version()

_JUDGED: dict[tuple[str, str], list[str]] = {}
"""Mistakes by object and version: most objects are the same whatever the values."""

CUSTOM_GROUPS = ("gateway.networking.k8s.io", "keda.sh", "monitoring.coreos.com")


def is_custom(found: dict[str, Any]) -> bool:
    """Say whether an object is of a kind that a cluster has only when somebody installed it."""
    return str(found["apiVersion"]).split("/")[0] in CUSTOM_GROUPS


def mistakes(found: dict[str, Any], version: str) -> list[str]:
    """Return what Kubernetes of that version does not like about an object."""
    judged = (repr(found), version)
    if judged not in _JUDGED:
        _JUDGED[judged] = _told(_builtin(found["kind"], found["apiVersion"], version), found)
    return _JUDGED[judged]


def custom_mistakes(found: dict[str, Any]) -> list[str]:
    """Return what the schemas of a custom kind do not like: ours, and that of its operator where it is at hand."""
    wrong = _told(_described(f"{found['apiVersion']} {found['kind']}"), found)
    if CUSTOM_SCHEMAS.is_dir():
        wrong += _told(_custom(found["kind"], found["apiVersion"]), found)
    return wrong


def _told(judge: jsonschema.Draft202012Validator, found: dict[str, Any]) -> list[str]:
    name = f"{found['kind']} {found['metadata']['name']}"
    return [f"{name} {error.json_path}: {error.message}" for error in judge.iter_errors(found)]


@cache
def _builtin(kind: str, api_version: str, version: str) -> jsonschema.Draft202012Validator:
    folder = f"kubernetes-json-schema/v{version}-local-strict"
    group, _, of_group = api_version.rpartition("/")
    name = f"{group.split('.')[0]}-{of_group}" if group else api_version
    schema = schema_contents(f"{folder}/{kind.lower()}-{name}.json", version)
    registry: Registry[Any] = Resource.from_contents(schema) @ _definitions(folder, version)
    return jsonschema.Draft202012Validator(schema, registry=registry)


@cache
def _definitions(folder: str, version: str) -> "Registry[Any]":
    registry: Registry[Any] = Registry()
    return Resource.from_contents(schema_contents(f"{folder}/_definitions.json", version)) @ registry


@cache
def _described(kind: str) -> jsonschema.Draft202012Validator:
    described = yaml.safe_load(DESCRIBED.read_text())
    return jsonschema.Draft202012Validator(
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["apiVersion", "kind", "metadata", "spec"],
            "properties": {
                "apiVersion": {},
                "kind": {},
                "metadata": {"$ref": "#/definitions/metadata"},
                "spec": described["kinds"][kind],
            },
            "definitions": described["definitions"],
        }
    )


@cache
def _custom(kind: str, api_version: str) -> jsonschema.Draft202012Validator:
    name = f"{api_version.replace('/', '_')}".replace("_", f"_{kind.lower()}_")
    return jsonschema.Draft202012Validator(json.loads((CUSTOM_SCHEMAS / f"{name}.json").read_text()))
