"""A stand-in for the calls of the Kubernetes API that an uninstall makes, with a Role's rights and pods that end.

It speaks TLS with a certificate of an authority of its own. What it does not know, and what the Role does not allow,
is refused.
"""

import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TOKEN = "the token of the Job's account"


@dataclass
class StandInPod:
    """A pod of the workload.

    Attributes:
        exit_code: with which its container will end; None: it is removed by force, and nobody sees its end.
        last_seen: the state and last state that its node tells instead when it has missed the end.
        lasts: how long it takes to end, in seconds.
        state, last_state: of its container, as in the API.
    """

    name: str
    ip: str = "127.0.0.1"
    exit_code: int | None = 0
    lasts: float = 0.2
    state: dict[str, Any] = field(default_factory=lambda: {"running": {}})
    last_state: dict[str, Any] = field(default_factory=dict)
    last_seen: tuple[dict[str, Any], dict[str, Any]] | None = None
    phase: str = "Running"
    ending: bool = False

    def as_object(self) -> dict[str, Any]:
        metadata: dict[str, Any] = {"name": self.name, "uid": f"uid-of-{self.name}"}
        if self.ending:
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        containers = [{"name": "chat", "state": self.state, "lastState": self.last_state}]
        return {
            "metadata": metadata,
            "status": {"phase": self.phase, "podIP": self.ip, "containerStatuses": containers},
        }


@dataclass
class KubeApi:
    """The state of the cluster, and what was asked of it."""

    namespace: str
    kind: str
    name: str
    rules: Sequence[Mapping[str, Any]]
    pods: dict[str, StandInPod] = field(default_factory=dict)
    replicas: int = 2
    scaled_object: bool = False
    paused: str | None = None
    scaled_up_again: int = 0
    """How often something else scales the workload up after it was scaled to nothing."""
    late_watches: int = 0
    """How many watches end without a word, and only when no pod is left."""
    forgotten_versions: int = 0
    """How many watches are told that their version is too old."""
    patches: list[tuple[str, Any]] = field(default_factory=list)
    events: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    version: int = 100

    def add(self, *pods: StandInPod) -> None:
        self.pods.update({pod.name: pod for pod in pods})
        self.replicas = len(self.pods)

    def happened(self, kind: str, pod: StandInPod) -> None:
        with self.changed:
            self.version += 1
            found = pod.as_object()
            found["metadata"]["resourceVersion"] = str(self.version)
            self.events.append((self.version, {"type": kind, "object": found}))
            self.changed.notify_all()

    def end_pods(self) -> None:
        for pod in [pod for pod in self.pods.values() if not pod.ending and pod.phase == "Running"]:
            pod.ending = True
            self.happened("MODIFIED", pod)
            threading.Thread(target=self._end, args=(pod,), daemon=True).start()

    def _end(self, pod: StandInPod) -> None:
        time.sleep(pod.lasts)
        if pod.last_seen is not None:
            pod.state, pod.last_state = pod.last_seen
        elif pod.exit_code is not None:
            pod.state = {"terminated": {"exitCode": pod.exit_code}}
        if pod.last_seen is not None or pod.exit_code is not None:
            self.happened("MODIFIED", pod)
        del self.pods[pod.name]
        self.happened("DELETED", pod)

    def allows(self, verb: str, group: str, resource: str, name: str | None) -> bool:
        return any(
            verb in rule["verbs"]
            and group in rule["apiGroups"]
            and resource in rule["resources"]
            and (name in rule["resourceNames"] if "resourceNames" in rule else True)
            for rule in self.rules
        )


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    api: KubeApi
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_PATCH(self) -> None:
        self._answer(self._patch)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, what: Any) -> None:
        try:
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                raise _Refused(401, "Unauthorized")
            said = what(urlsplit(self.path).path.strip("/").split("/"))
        except _Refused as exc:
            self._send(exc.status, {"kind": "Status", "message": str(exc)})
        else:
            if said is not None:
                self._send(200, said)

    def _send(self, status: int, said: Mapping[str, Any]) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _may(self, verb: str, group: str, resource: str, name: str | None) -> None:
        if not self.api.allows(verb, group, resource, name):
            raise _Refused(403, f'{resource} "{name}" is forbidden: cannot {verb} resource "{resource}"')

    def _get(self, path: list[str]) -> dict[str, Any] | None:
        match path:
            case ["api", "v1", "namespaces", self.api.namespace, "pods"]:
                query = parse_qs(urlsplit(self.path).query)
                assert "app.kubernetes.io/component=chat" in query["labelSelector"][0]
                if "watch" in query:
                    self._may("watch", "", "pods", None)
                    self._watch(int(query["resourceVersion"][0]), float(query["timeoutSeconds"][0]))
                    return None
                self._may("list", "", "pods", None)
                with self.api.changed:
                    pods = [pod.as_object() for pod in [*self.api.pods.values()]]
                    return {"metadata": {"resourceVersion": str(self.api.version)}, "items": pods}
            case ["apis", "apps", "v1", "namespaces", self.api.namespace, resource, name, "scale"]:
                self._may("get", "apps", f"{resource}/scale", name)
                self._is_there(resource, name)
                return self._scale()
        raise _Refused(404, f"{self.path} is not there")

    def _is_there(self, resource: str, name: str) -> None:
        if (resource, name) != (f"{self.api.kind.lower()}s", self.api.name):
            raise _Refused(404, f'{resource} "{name}" not found')

    def _scale(self) -> dict[str, Any]:
        # The API leaves a number that is 0 out.
        return {"kind": "Scale", "spec": {"replicas": self.api.replicas} if self.api.replicas else {}}

    def _patch(self, path: list[str]) -> dict[str, Any]:
        assert self.headers["Content-Type"] == "application/merge-patch+json"
        patch = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        match path:
            case ["apis", "apps", "v1", "namespaces", self.api.namespace, resource, name, "scale"]:
                self._may("patch", "apps", f"{resource}/scale", name)
                self._is_there(resource, name)
                self.api.patches.append((name, patch))
                self.api.replicas = patch["spec"]["replicas"]
                self.api.end_pods()
                if self.api.scaled_up_again:
                    self.api.scaled_up_again -= 1
                    late = StandInPod(f"late-{self.api.scaled_up_again}")
                    self.api.add(late)
                    self.api.happened("ADDED", late)
                return self._scale()
            case ["apis", "keda.sh", "v1alpha1", "namespaces", self.api.namespace, "scaledobjects", name]:
                self._may("patch", "keda.sh", "scaledobjects", name)
                if not self.api.scaled_object:
                    raise _Refused(404, "the server could not find the requested resource")
                self.api.patches.append((name, patch))
                self.api.paused = patch["metadata"]["annotations"]["autoscaling.keda.sh/paused-replicas"]
                return {"kind": "ScaledObject"}
        raise _Refused(404, f"{self.path} is not there")

    def _watch(self, version: int, seconds: float) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        end = time.monotonic() + seconds
        with self.api.changed:
            if self.api.forgotten_versions:
                self.api.forgotten_versions -= 1
                self.wfile.write(
                    b'{"type": "ERROR", "object": {"kind": "Status", "message": "too old", "code": 410}}\n'
                )
                return
            if self.api.late_watches:
                self.api.late_watches -= 1
                self.api.changed.wait_for(lambda: not self.api.pods, timeout=seconds)
                return
            while time.monotonic() < end:
                for number, event in [*self.api.events]:
                    if number > version:
                        version = number
                        self.wfile.write(json.dumps(event).encode() + b"\n")
                self.wfile.flush()
                self.api.changed.wait(max(0.0, end - time.monotonic()))


@contextmanager
def kube_api(api: KubeApi, credentials: Path) -> Iterator[str]:
    """Serve it for the length of a `with` block; write token and authority into a folder, and yield the address."""
    handler = type("Handler", (_Handler,), {"api": api})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(credentials))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    (credentials / "token").write_text(f"{TOKEN}\n")
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"https://localhost:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _certificate(folder: Path) -> Path:
    """Write an authority as `ca.crt`, and a certificate for localhost; return the file of that and its key.

    As on Amazon EKS, neither has a key identifier, which strict verification would ask for.
    """
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    itself = x509.BasicConstraints(ca=True, path_length=None)
    of_authority = _certificate_of("kubernetes", authority).add_extension(itself, critical=True)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    of_server = _certificate_of("localhost", key).add_extension(names, critical=False)
    (folder / "ca.crt").write_bytes(_signed(of_authority, authority))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(private + _signed(of_server, authority))
    return folder / "server.pem"


def _certificate_of(name: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name("kubernetes"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _signed(certificate: x509.CertificateBuilder, by: ec.EllipticCurvePrivateKey) -> bytes:
    return certificate.sign(by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
