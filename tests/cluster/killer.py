"""SIGKILL for a pod's processes, from beside them: no container can kill its own first process, and the API only asks.

A privileged pod on the same node looks for the processes by the id of their pod, which stands in their control group.
"""

import time
from typing import Any

from tests.cluster.images import OLD, STORES
from tests.cluster.kubectl import Kubectl, is_ready

PROGRAM = """
import contextlib, os, pathlib, signal, sys
ids, word = {sys.argv[1], sys.argv[1].replace("-", "_")}, sys.argv[2].encode()
victims = []
for process in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        group, command = (process / "cgroup").read_text(), (process / "cmdline").read_bytes()
    except OSError:
        continue
    if any(name in group for name in ids) and word in command:
        victims.append(int(process.name))
for victim in victims:
    with contextlib.suppress(ProcessLookupError):  # a worker ends with its parent
        os.kill(victim, signal.SIGKILL)
print(len(victims))
"""


class Killer:
    """A pod that kills others."""

    def __init__(self, kubectl: Kubectl, node: str) -> None:
        self._kubectl = kubectl
        kubectl.apply(_pod(node))
        kubectl.wait_for(lambda: is_ready(kubectl.get("pod", "killer")), "the killer to be ready")

    def kill(self, pod: dict[str, Any], word: str) -> float:
        """Kill the processes of a pod whose command line holds a word; return the monotonic time right before.

        The pod's container starts anew on the same volumes.
        """
        moment = time.monotonic()
        assert self.kill_if_there(pod, word), f"no process of {pod['metadata']['name']} was found"
        return moment

    def kill_if_there(self, pod: dict[str, Any], word: str) -> bool:
        """Kill as `kill` does; say whether there was anything to kill."""
        return int(self._kubectl.execute("killer", "python", "-c", PROGRAM, pod["metadata"]["uid"], word)) > 0


def _pod(node: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "killer"},
        "spec": {
            "hostPID": True,
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "killer",
                    "image": f"{STORES.repository}:{OLD}",
                    "command": ["python", "-c", "import signal; signal.pause()"],
                    "securityContext": {"runAsUser": 0, "privileged": True},
                }
            ],
        },
    }
