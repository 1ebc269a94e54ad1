"""A stand-in for an API server, as far as `lookup` asks one: discovery, and objects by their names."""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import yaml

RESOURCES = [
    {"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get", "list"]}
    for name, namespaced, kind in (
        ("namespaces", False, "Namespace"),
        ("configmaps", True, "ConfigMap"),
        ("secrets", True, "Secret"),
    )
]
PAGES: dict[str, Any] = {
    "/version": {"major": "1", "minor": "30", "gitVersion": "v1.30.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": RESOURCES},
}


class _Handler(BaseHTTPRequestHandler):
    pages: ClassVar[Mapping[str, Any]] = {}

    def do_GET(self) -> None:
        page = self.pages.get(self.path.partition("?")[0])
        status = 404 if page is None else 200
        missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
        body = json.dumps(missing if page is None else page).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
        """Say nothing."""


def _group(version: str) -> dict[str, Any]:
    shown = {"groupVersion": version, "version": version.rpartition("/")[2]}
    return {"name": version.rpartition("/")[0], "versions": [shown], "preferredVersion": shown}


@contextmanager
def api_server(namespace: str, secrets: Mapping[str, Mapping[str, str]], groups: Sequence[str] = ()) -> Iterator[str]:
    """Serve a cluster with one namespace and these Secrets (keys and values) in it; yield a kubeconfig.

    `groups` are more groups of the API, such as `security.openshift.io/v1`.
    """
    here = f"/api/v1/namespaces/{namespace}"
    held: dict[str, Any] = {"kube-root-ca.crt": ("ConfigMap", "configmaps", {"ca.crt": "x"})}
    held |= {name: ("Secret", "secrets", dict(data)) for name, data in secrets.items()}
    pages = PAGES | {
        f"{here}/{resource}/{name}": {
            "apiVersion": "v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": namespace},
            "data": data,
        }
        for name, (kind, resource, data) in held.items()
    }
    pages["/apis"] = PAGES["/apis"] | {"groups": [_group(each) for each in groups]}
    pages |= {f"/apis/{each}": {"kind": "APIResourceList", "groupVersion": each, "resources": []} for each in groups}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"pages": pages}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
                "users": [{"name": "me", "user": {}}],
                "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": namespace}}],
            }
        )
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
