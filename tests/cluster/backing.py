"""The backing services of the end-to-end tests as Kubernetes objects: a pod each, with data that ends with it."""

from typing import Any

from tests.cluster.images import HISTORY, OLD, STORES
from tests.cluster.kubectl import Kubectl, is_ready

PORTS = {"valkey": 6379, "mongodb": 27017, "swift": 8080}
S3_KEY, S3_SECRET = "test:tester", "testing"

BEGIN_REPLICA_SET = """
from pymongo import MongoClient
from pymongo.errors import OperationFailure
client = MongoClient("mongodb://mongodb:27017/?directConnection=true", serverSelectionTimeoutMS=60000)
try:
    client.admin.command("replSetInitiate", {"_id": "rs0", "members": [{"_id": 0, "host": "127.0.0.1:27017"}]})
except OperationFailure as known:
    if known.code != 23:
        raise
"""


def start_stores(kubectl: Kubectl) -> None:
    """Start Valkey, MongoDB and Swift, and wait until they can be used."""
    for name, port in PORTS.items():
        kubectl.apply(_pod(name, port), _service(name, port))
    kubectl.apply(_begin())
    kubectl.wait_for(lambda: all(is_ready(kubectl.get("pod", name)) for name in PORTS), "the stores to be ready")
    kubectl.wait_for(
        lambda: kubectl.get("pod", "begin-replica-set")["status"]["phase"] == "Succeeded", "the replica set to begin"
    )


def _pod(name: str, port: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 5,
            "securityContext": {"fsGroup": 10001},
            "containers": [
                {
                    "name": name,
                    "image": f"{STORES.repository}:{OLD}",
                    "args": [name],
                    "ports": [{"containerPort": port, "protocol": "TCP"}],
                    "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }
            ],
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
    }


def _service(name: str, port: int) -> dict[str, Any]:
    ports = [{"port": port, "targetPort": port, "protocol": "TCP"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports},
    }


def _begin() -> dict[str, Any]:
    """The image of history has the driver; its server is not started."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "begin-replica-set"},
        "spec": {
            "restartPolicy": "OnFailure",
            "containers": [
                {
                    "name": "begin",
                    "image": f"{HISTORY.repository}:{OLD}",
                    "command": ["python", "-c", BEGIN_REPLICA_SET],
                }
            ],
        },
    }
