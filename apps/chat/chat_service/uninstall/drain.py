"""The order of an uninstall: deliveries flow, chat is sent away, every pod has ended, and ended well."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

from chat_service.uninstall.cluster import ChatPod, ClusterError, KubernetesApi, NotFound, VersionTooOld

CONTAINER: Final = "chat"
LOOK_SECONDS: Final = 1.0
ASK_SECONDS: Final = 5.0
WATCH_SECONDS: Final = 5
FRESH_SECONDS: Final = 10.0
"""An outbox whose oldest exchange is younger is being delivered."""

_OLDEST = re.compile(r"^chatbot_outbox_oldest_seconds (\S+)$", re.MULTILINE)

Tell = Callable[[str], None]


class NotDrained(Exception):
    """Chat was not drained; says why, what was changed so far, and what to do."""


@dataclass(frozen=True, slots=True)
class DrainPlan:
    """What is to be drained.

    Attributes:
        kind: Deployment or StatefulSet.
        name: of the workload, and of the ScaledObject.
        selector: labels of its pods.
        keda: a ScaledObject scales it.
        keeps: its outboxes outlive their pods.
        history_url: where chat delivers.
        metrics_port: where a chat pod tells its metrics.
        seconds: how long it may take altogether.
        pod_seconds: how long a pod may take to end.
    """

    kind: str
    name: str
    selector: str
    keda: bool
    keeps: bool
    history_url: str
    metrics_port: int
    seconds: float
    pod_seconds: float


class Drain:
    """One run."""

    def __init__(self, plan: DrainPlan, cluster: KubernetesApi, tell: Tell) -> None:
        self._plan = plan
        self._cluster = cluster
        self._tell = tell
        self._end = time.monotonic() + plan.seconds

    def run(self) -> None:
        """Drain chat.

        Raises:
            NotDrained: it could not be drained, or a pod ended with exchanges that history does not have.
            ClusterError: the API server refused a call.
        """
        plan = self._plan
        try:
            replicas = self._cluster.replicas(plan.kind, plan.name)
        except NotFound:
            self._tell(f"there is no {plan.kind} {plan.name}: nothing to drain")
            return
        pods, _ = self._cluster.pods(plan.selector, CONTAINER)
        if not replicas and not pods:
            self._tell(f"{plan.kind} {plan.name} has no pods: nothing to drain")
            return
        if replicas:  # else they are ending already, and waiting for deliveries would come too late
            self._wait_until_delivered()
        if plan.keda:
            self._pause_keda()
        self._tell(f"{plan.kind} {plan.name}: {replicas} → 0 pods")
        ends = self._scale_down()
        self._judge(ends)
        self._tell(f"{len(ends)} pods of chat have ended in good order; history has all that was answered")

    def _wait_until_delivered(self) -> None:
        """Wait until history takes what the outboxes hold; nothing is changed before that."""
        last = self._end - self._plan.pod_seconds
        told: list[str] = []
        while troubles := self._problems():
            if troubles != told:
                self._tell("waiting: " + "; ".join(troubles))
                told = troubles
            if time.monotonic() > last:
                raise NotDrained(
                    "nothing was changed, chat goes on; what was answered would be lost: " + "; ".join(troubles)
                )
            time.sleep(LOOK_SECONDS)

    def _problems(self) -> list[str]:
        """Return what stands in the way of deliveries."""
        pods = [pod for pod in self._cluster.pods(self._plan.selector, CONTAINER)[0] if not pod.empty]
        if not pods:
            return []
        found = [trouble for pod in pods if (trouble := self._problem_of(pod))]
        try:
            _read(f"{self._plan.history_url}/readyz")
        except OSError as exc:
            found.append(f"history does not answer at {self._plan.history_url} ({exc})")
        return found

    def _problem_of(self, pod: ChatPod) -> str:
        if not pod.running:
            return f"{pod.name} does not run, so what its outbox holds is not known"
        host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
        try:
            oldest = _OLDEST.search(_read(f"http://{host}:{self._plan.metrics_port}/metrics"))
        except OSError as exc:
            return f"{pod.name} does not tell what its outbox holds ({exc})"
        if oldest is None:
            return f"{pod.name} does not tell what its outbox holds"
        age = float(oldest[1])
        return f"{pod.name} holds exchanges that have waited for {age:.0f} s" if age > FRESH_SECONDS else ""

    def _pause_keda(self) -> None:
        try:
            self._cluster.pause_keda(self._plan.name)
        except NotFound:
            self._tell("there is no ScaledObject, so nothing scales chat up again")

    def _scale_down(self) -> dict[str, ChatPod]:
        """Scale to nothing and wait until all pods are gone; return what was last seen of them, by their ids."""
        plan = self._plan
        ends: dict[str, ChatPod] = {}
        while True:
            pods, version = self._cluster.pods(plan.selector, CONTAINER)
            for pod in pods:
                self._note(ends, pod)
            self._keep_at_zero()
            if not pods:
                return ends
            self._watch(ends, {pod.uid: pod.name for pod in pods}, version)

    def _watch(self, ends: dict[str, ChatPod], left: dict[str, str], version: str) -> None:
        """Follow the pods from a version on until all that are left are gone, or they must be listed again.

        One watch begins where the one before has ended: a pod that ends in between is seen to end.
        """
        while left:
            if time.monotonic() > self._end:
                names = ", ".join(sorted(left.values()))
                raise NotDrained(f"chat was scaled to 0, but these pods have not ended: {names}. {self._how_to_undo()}")
            try:
                for change in self._cluster.changes(self._plan.selector, CONTAINER, version, WATCH_SECONDS):
                    version = change.version
                    self._note(ends, change.pod)
                    if change.gone:
                        left.pop(change.pod.uid, None)
                    else:
                        left[change.pod.uid] = change.pod.name
                    if not left:
                        return
            except VersionTooOld:
                return
            except ClusterError as exc:  # a watch may be cut at any time
                self._tell(str(exc))
                time.sleep(LOOK_SECONDS)
            self._keep_at_zero()

    def _keep_at_zero(self) -> None:
        """Let chat have no pods; whoever scales it up meanwhile does not win."""
        if self._cluster.replicas(self._plan.kind, self._plan.name):
            self._cluster.scale_to_zero(self._plan.kind, self._plan.name)

    def _note(self, ends: dict[str, ChatPod], pod: ChatPod) -> None:
        known = ends[pod.uid].exit_code if pod.uid in ends else None
        ends[pod.uid] = replace(pod, exit_code=known) if pod.exit_code is None else pod
        if pod.exit_code is not None and known is None:
            self._tell(f"{pod.name} has ended with exit code {pod.exit_code}")

    def _judge(self, ends: dict[str, ChatPod]) -> None:
        """Tell of pods that ended with something left over, or may have: removed by force, or with their node."""
        bad = sorted(
            f"{pod.name} {'for unknown reasons' if pod.exit_code is None else f'with {pod.exit_code}'}"
            for pod in ends.values()
            if pod.exit_code or (pod.exit_code is None and not pod.empty)
        )
        if not bad:
            return
        where = (
            "their outboxes are on their volumes, and the pods of the same numbers deliver them"
            if self._plan.keeps
            else "what their outboxes still held went with them; their logs say how much"
        )
        raise NotDrained(f"pods did not end in good order: {', '.join(bad)}; {where}. {self._how_to_undo()}")

    def _how_to_undo(self) -> str:
        unpause = (
            f"kubectl annotate scaledobject {self._plan.name} autoscaling.keda.sh/paused-replicas- ; "
            if self._plan.keda
            else ""
        )
        kind = self._plan.kind.lower()
        return f"To start chat again: {unpause}kubectl scale {kind} {self._plan.name} --replicas=2"


def _read(url: str) -> str:
    """Return what stands at an address of the cluster.

    Raises:
        OSError: nobody answers, or with an error.
    """
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=ASK_SECONDS) as answer:
            return str(answer.read().decode())
    except HTTPError as exc:
        with exc:
            raise OSError(f"{exc.code} {exc.reason}") from exc
    except URLError as exc:
        raise OSError(str(exc.reason)) from exc
