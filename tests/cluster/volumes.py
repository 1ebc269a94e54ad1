"""Volumes for a cluster that provides none by itself: folders of a node, made by hand."""

from typing import Any

from tests.cluster.images import OLD, STORES
from tests.cluster.kubectl import Kubectl

FOLDER = "/var/tmp/chatbot-e2e"  # on the node
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
UID = 10001


def provides_volumes(kubectl: Kubectl) -> bool:
    """Say whether the cluster makes volumes for claims that name no class."""
    classes = kubectl.items("storageclasses")
    return any(found["metadata"].get("annotations", {}).get(DEFAULT_CLASS) == "true" for found in classes)


def make_volumes(kubectl: Kubectl, node: str, count: int) -> None:
    """Make so many volumes of a class that nobody provides; those of a run that was cut off are bound, and go first."""
    _remove_objects(kubectl)
    folders = " ".join(f"{FOLDER}/{number}" for number in range(1, count + 1))
    _on_node(kubectl, node, f"rm -rf {FOLDER}/* && install --directory --owner {UID} --group {UID} {folders}")
    for number in range(1, count + 1):
        kubectl.apply(_volume(number))


def remove_volumes(kubectl: Kubectl, node: str) -> None:
    """Take them away, with what is in them."""
    _remove_objects(kubectl)
    _on_node(kubectl, node, f"rm -rf {FOLDER}/*")


def _remove_objects(kubectl: Kubectl) -> None:
    kubectl.run("delete", "persistentvolumes", "--selector", "chatbot-e2e=outbox", "--ignore-not-found")


def _on_node(kubectl: Kubectl, node: str, script: str) -> None:
    kubectl.run("delete", "pod", "folders", "--ignore-not-found")
    kubectl.apply(_pod(node, script))
    kubectl.wait_for(lambda: kubectl.get("pod", "folders")["status"]["phase"] == "Succeeded", "folders on the node")
    kubectl.run("delete", "pod", "folders")


def _pod(node: str, script: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "folders"},
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": "folders",
                    "image": f"{STORES.repository}:{OLD}",
                    "command": ["sh", "-c", script],
                    "securityContext": {"runAsUser": 0},
                    "volumeMounts": [{"name": "node", "mountPath": FOLDER}],
                }
            ],
            "volumes": [{"name": "node", "hostPath": {"path": FOLDER, "type": "DirectoryOrCreate"}}],
        },
    }


def _volume(number: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"chatbot-e2e-{number}", "labels": {"chatbot-e2e": "outbox"}},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": f"{FOLDER}/{number}"},
        },
    }
