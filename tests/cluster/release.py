"""The chart as a release on the cluster, through Helm's own library."""

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import helm_python

from servicekit.tokens import mint
from tests.charts.readme import make_secrets
from tests.charts.release import CHATBOT, merged, values_file
from tests.cluster.backing import S3_KEY, S3_SECRET
from tests.cluster.images import CHAT, HISTORY
from tests.cluster.kubectl import Kubectl

NAME = "chatbot"
FILES = {
    "redis-url": "redis://valkey:6379/0",
    "mongodb-url": "mongodb://mongodb:27017/?directConnection=true",
    "access-key-id": S3_KEY,
    "secret-access-key": S3_SECRET,
}
"""What the commands of the README find in the folder, by file name: where these tests have their stores."""
AUDIENCE = "chatbot"
UNSEEN = "for unknown reasons"  # what the Job of an uninstall says of a pod whose end nobody saw
OLDEST_SUPPORTED = 25  # minor version of Kubernetes 1
HERE = Path(__file__).parent
CHAT_PODS = "app.kubernetes.io/component=chat"
HISTORY_PODS = "app.kubernetes.io/component=history"

Values = dict[str, Any]


def tell(what: str) -> None:
    """Print a figure that belongs into the record of a run."""
    sys.stdout.write(f"\n    {what}\n")


@dataclass(frozen=True)
class Release:
    """One release and the namespace it lives in."""

    kubectl: Kubectl
    folder: Path

    @cached_property
    def helm(self) -> helm_python.Config:
        """Helm's connection to the cluster."""
        return helm_python.Config(kubeconfig_path=os.environ["KUBECONFIG"], namespace=self.kubectl.namespace)

    def make_secrets(self) -> None:
        """Make the Secrets by the commands of the chart's README."""
        kubectl = os.environ.get("KUBECTL", "kubectl")
        make_secrets(self.folder / "secrets", FILES, kubectl, self.kubectl.namespace)

    def token(self, client_id: str) -> str:
        """Return a token that the release accepts."""
        secret = (self.folder / "secrets" / "token-secrets").read_text().strip()
        return mint(secret, subject=client_id, audience=AUDIENCE, lifetime=timedelta(hours=2))

    @cached_property
    def minor(self) -> int:
        """The cluster's minor version."""
        version = json.loads(self.kubectl.run("version", "--output", "json"))["serverVersion"]["minor"]
        return int(re.sub(r"\D", "", version))

    def chart(self, path: Path = CHATBOT) -> str:
        """Return a chart; for a cluster that is older than the chart allows, a copy that does not ask."""
        if self.minor >= OLDEST_SUPPORTED:
            return str(path)
        copy = self.folder / path.name
        shutil.copytree(path, copy, dirs_exist_ok=True)
        manifest = copy / "Chart.yaml"
        manifest.write_text(re.sub(r"(?m)^kubeVersion:.*$", "", manifest.read_text()))
        return str(copy)

    def values(self, tag: str, more: Mapping[str, Any]) -> Values:
        """Return the values of these tests: all of values.yaml, and what an old cluster needs."""
        files = ["values.yaml"] if self.minor >= OLDEST_SUPPORTED else ["values.yaml", "values-old-cluster.yaml"]
        return merged(*(values_file(HERE / name) for name in files), _images(tag), more)

    def install(self, tag: str, **more: Any) -> None:
        """Install it, and wait until every pod is ready."""
        try:
            self.helm.install(self.chart(), NAME, self.values(tag, more), wait="watcher", timeout=240)
        except helm_python.HelmError as exc:
            raise AssertionError(f"{exc}\n{self.state()}") from exc

    def state(self) -> str:
        """Return what the pods are doing, those of an uninstall as well, with the last lines of their logs."""
        mine = ("--selector", f"app.kubernetes.io/instance={NAME}")
        return self.kubectl.run("get", "pods", *mine) + self.kubectl.run("logs", *mine, "--tail=12", "--prefix")

    def upgrade(self, tag: str, *, seconds: int = 300, rollback: bool = False, **more: Any) -> None:
        """Upgrade it, and wait until every pod is of the new revision."""
        self.helm.upgrade(
            self.chart(), NAME, self.values(tag, more), wait="watcher", timeout=seconds, rollback_on_failure=rollback
        )

    def uninstall(self) -> None:
        """Take it away, if it is there."""
        try:
            self._uninstall()
        except helm_python.HelmError as exc:
            state = self.state()
            if self.minor >= OLDEST_SUPPORTED or UNSEEN not in state:
                raise AssertionError(f"{exc}\n{state}") from exc
            # A kubelet this old may forget a container before it tells of its end; a test sees by itself what is lost.
            tell("an uninstall was refused, since the node did not tell how a pod ended; it is done again")
            self._uninstall()

    def _uninstall(self) -> None:
        self.helm.uninstall(NAME, wait="watcher", timeout=300, ignore_not_found=True)

    def pods(self, component: str) -> list[dict[str, Any]]:
        """Return the pods of a part."""
        return self.kubectl.items("pods", "--selector", component)


def _images(tag: str) -> Values:
    return {
        "image": {"tag": tag},
        "chat": {"image": {"repository": CHAT.repository}},
        "history": {"image": {"repository": HISTORY.repository}},
    }
