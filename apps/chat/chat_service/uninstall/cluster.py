"""The few calls to the Kubernetes API that are needed, with nothing but the standard library."""

import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

ANSWER_SECONDS: Final = 10.0
MERGE_PATCH: Final = "application/merge-patch+json"
RESOURCES: Final = {"Deployment": "deployments", "StatefulSet": "statefulsets"}
PAUSED: Final = "autoscaling.keda.sh/paused-replicas"
"""The annotation by which KEDA keeps a workload at a number of pods."""


class ClusterError(Exception):
    """The API server refused a call, or could not be reached."""


class NotFound(ClusterError):
    """The object is not there."""


class VersionTooOld(ClusterError):
    """What changed since that version is not known any more: list again."""


@dataclass(frozen=True, slots=True)
class ChatPod:
    """What matters of a pod.

    Attributes:
        ip: its address; empty while it has none.
        running: the container of chat runs.
        empty: the container has never got as far as to keep anything: it was never started, or its settings are wrong.
        exit_code: how the container ended, when it has and its node knows.
    """

    name: str
    uid: str
    ip: str
    running: bool
    empty: bool
    exit_code: int | None

    @classmethod
    def parse(cls, found: Mapping[str, Any], container: str) -> "ChatPod":
        """Read it from an object of the API."""
        about, status = found["metadata"], found.get("status", {})
        states = {one["name"]: one for one in status.get("containerStatuses", [])}
        of_chat = states.get(container, {})
        state, last = of_chat.get("state", {}), of_chat.get("lastState", {})
        ends = [one["terminated"]["exitCode"] for one in (state, last) if "terminated" in one]
        return cls(
            name=about["name"],
            uid=about["uid"],
            ip=status.get("podIP", ""),
            running="running" in state,
            empty="running" not in state and all(code == WRONG_SETTINGS for code in ends),
            exit_code=_exit_code(state.get("terminated")),
        )


@dataclass(frozen=True, slots=True)
class Change:
    """A pod that has changed.

    Attributes:
        pod: as it is now, or was at last.
        gone: it is not there any more.
        version: from which later changes can be watched.
    """

    pod: ChatPod
    gone: bool
    version: str


def _exit_code(terminated: Mapping[str, Any] | None) -> int | None:
    if terminated is None or terminated.get("reason") == LOST_BY_ITS_NODE:
        return None
    return int(terminated["exitCode"])


LOST_BY_ITS_NODE: Final = "ContainerStatusUnknown"
"""The reason of a kubelet that did not see the end of a container; the exit code beside it, 137, is made up."""
WRONG_SETTINGS: Final = 2
"""The exit code of a service that did not start."""


class KubernetesApi:
    """One namespace of a cluster.

    Args:
        server: address of the API server, `https://host:port`.
        namespace: the namespace.
        credentials: folder with `ca.crt` and `token`, which is read for each call because Kubernetes replaces it.
    """

    def __init__(self, server: str, namespace: str, credentials: Path) -> None:
        self._address = urlsplit(server)
        self._namespace = namespace
        self._credentials = credentials

    def replicas(self, kind: str, name: str) -> int:
        """Return how many pods a workload is to have."""
        return int(self._call("GET", self._workload(kind, name))["spec"].get("replicas", 0))

    def scale_to_zero(self, kind: str, name: str) -> None:
        """Let a workload have no pods."""
        self._call("PATCH", self._workload(kind, name), {"spec": {"replicas": 0}})

    def pause_keda(self, name: str) -> None:
        """Let KEDA keep the workload of a ScaledObject at no pods."""
        path = f"/apis/keda.sh/v1alpha1/namespaces/{self._namespace}/scaledobjects/{name}"
        self._call("PATCH", path, {"metadata": {"annotations": {PAUSED: "0"}}})

    def pods(self, selector: str, container: str) -> tuple[list[ChatPod], str]:
        """Return the pods with these labels, and the version from which changes can be watched."""
        found = self._call("GET", f"{self._pods()}?{urlencode({'labelSelector': selector})}")
        there = [one for one in found["items"] if not _is_a_leftover(one)]
        return [ChatPod.parse(one, container) for one in there], found["metadata"]["resourceVersion"]

    def changes(self, selector: str, container: str, version: str, seconds: int) -> Iterator[Change]:
        """Yield what has changed since a version and what changes, for so long at most; it may end earlier.

        Raises:
            VersionTooOld: the version is not known any more.
            ClusterError: the API server refused the call, or the answer broke off.
        """
        query = {"labelSelector": selector, "watch": "1", "resourceVersion": version, "timeoutSeconds": seconds}
        with self._answer("GET", f"{self._pods()}?{urlencode(query)}", seconds=seconds + ANSWER_SECONDS) as answer:
            while line := answer.readline():
                event = json.loads(line)
                found = event["object"]
                if event["type"] == "ERROR":
                    raise VersionTooOld(f"the pods must be listed again: {found.get('message', 'no reason given')}")
                at = found["metadata"]["resourceVersion"]
                yield Change(ChatPod.parse(found, container), event["type"] == "DELETED", at)

    def _workload(self, kind: str, name: str) -> str:
        return f"/apis/apps/v1/namespaces/{self._namespace}/{RESOURCES[kind]}/{name}/scale"

    def _pods(self) -> str:
        return f"/api/v1/namespaces/{self._namespace}/pods"

    def _call(self, method: str, path: str, patch: Mapping[str, Any] | None = None) -> dict[str, Any]:
        with self._answer(method, path, patch) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found

    @contextmanager
    def _answer(
        self, method: str, path: str, patch: Mapping[str, Any] | None = None, seconds: float = ANSWER_SECONDS
    ) -> Iterator[HTTPResponse]:
        connection = self._connection(seconds)
        try:
            headers = {"Accept": "application/json", "Authorization": f"Bearer {self._token()}"}
            headers |= {"Content-Type": MERGE_PATCH} if patch is not None else {}
            connection.request(method, path, None if patch is None else json.dumps(patch), headers)
            answer = connection.getresponse()
            if answer.status >= HTTPStatus.BAD_REQUEST:
                raise _refusal(method, path, answer)
            yield answer
        except (OSError, HTTPException, ValueError) as exc:
            raise ClusterError(f"{method} {path.partition('?')[0]}: {str(exc) or type(exc).__name__}") from exc
        finally:
            connection.close()

    def _token(self) -> str:
        return (self._credentials / "token").read_text("ascii").strip()

    def _connection(self, seconds: float) -> HTTPConnection:
        host, port = self._address.hostname or "", self._address.port
        if self._address.scheme == "http":
            return HTTPConnection(host, port, timeout=seconds)
        context = ssl.create_default_context(cafile=str(self._credentials / "ca.crt"))
        # Set by default from Python 3.13 on. The authorities of some clusters, as Amazon EKS, have no key identifiers.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return HTTPSConnection(host, port, timeout=seconds, context=context)


def _is_a_leftover(pod: Mapping[str, Any]) -> bool:
    """Say whether a pod is over and nobody removes it, as after an eviction."""
    return pod.get("status", {}).get("phase") in {"Failed", "Succeeded"} and "deletionTimestamp" not in pod["metadata"]


def _refusal(method: str, path: str, answer: HTTPResponse) -> ClusterError:
    try:
        said = str(json.loads(answer.read())["message"])
    except (ValueError, KeyError, TypeError):
        said = answer.reason
    kinds = {HTTPStatus.NOT_FOUND: NotFound, HTTPStatus.GONE: VersionTooOld}
    return kinds.get(HTTPStatus(answer.status), ClusterError)(
        f"{method} {path.partition('?')[0]}: {answer.status} {said}"
    )
