"""The cluster that KUBECONFIG names, through kubectl; KUBECTL says which program that is."""

import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PATIENCE_SECONDS = 180.0
LOOK_SECONDS, SHORT_SECONDS = 2.0, 10.0


@dataclass(frozen=True)
class Kubectl:
    """Commands to one namespace."""

    namespace: str

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        """Run one command and return what it printed; a command that fails, fails the test with its own words."""
        program = shlex.split(os.environ.get("KUBECTL", "kubectl"))
        done = subprocess.run(
            [*program, "--namespace", self.namespace, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        assert done.returncode == 0, f"kubectl {shlex.join(arguments)}: {done.stderr or done.stdout}"
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return an object, or a list of them, as the API has it."""
        found: dict[str, Any] = json.loads(self.run("get", *arguments, "--output", "json"))
        return found

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the objects of a list."""
        return list(self.get(*arguments)["items"])

    def apply(self, *objects: dict[str, Any]) -> None:
        """Make these objects, or change them."""
        self.run("apply", "--filename", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def execute(self, pod: str, *command: str) -> str:
        """Run a command in the first container of a pod."""
        return self.run("exec", pod, "--", *command)

    def metric(self, pod: str, port: int, name: str) -> float:
        """Return a figure from the metrics port of a pod, summed over its labels."""
        text = self.run("get", "--raw", f"/api/v1/namespaces/{self.namespace}/pods/{pod}:{port}/proxy/metrics")
        lines = [line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def wait_for(self, condition: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until a condition holds; tell what the pods were doing when it does not.

        A pod that fits on no node for some seconds ends the wait at once: nothing will change that by itself.
        """
        deadline = time.monotonic() + seconds
        look_at, short_since = 0.0, None
        while not condition():
            now = time.monotonic()
            if now > deadline:
                raise AssertionError(f"{what}: not within {seconds:g} s\n{self.run('get', 'pods', '--output', 'wide')}")
            if now > look_at:
                look_at = now + LOOK_SECONDS
                short = [why for pod in self.items("pods") if (why := short_of(pod))]
                short_since = (short_since or now) if short else None
                if short_since is not None and now - short_since > SHORT_SECONDS:
                    raise AssertionError(f"{what}: pods fit on no node\n" + "\n".join(short))
            time.sleep(0.2)


def short_of(pod: dict[str, Any]) -> str | None:
    """Return what a pod waits for that no node has enough of, such as CPU."""
    for condition in pod.get("status", {}).get("conditions", []):
        message = condition.get("message", "")
        if condition["type"] == "PodScheduled" and condition["status"] == "False" and "Insufficient" in message:
            return f"{pod['metadata']['name']}: {message}"
    return None


def is_ready(pod: dict[str, Any]) -> bool:
    """Say whether a pod is ready and stays."""
    conditions = {c["type"]: c["status"] for c in pod.get("status", {}).get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def uids(pods: list[dict[str, Any]]) -> set[str]:
    """Return what tells pods apart, also those of one name."""
    return {pod["metadata"]["uid"] for pod in pods}
