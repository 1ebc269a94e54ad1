"""Fixtures of the tests on a cluster. They run only when asked for: ./taskw e2e:cluster."""

import os
from collections.abc import Iterator

import pytest

from tests.cluster.backing import start_stores
from tests.cluster.entry import Entry, open_entry
from tests.cluster.images import build_all
from tests.cluster.kubectl import Kubectl
from tests.cluster.release import Release

NAMESPACE = "chatbot-e2e"

if os.environ.get("CHATBOT_E2E_CLUSTER") != "1":
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def kubectl() -> Iterator[Kubectl]:
    """A namespace of our own with the backing services in it; it is gone afterwards."""
    build_all()
    kubectl = Kubectl(NAMESPACE)
    kubectl.run("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s")
    kubectl.run("create", "namespace", NAMESPACE)
    start_stores(kubectl)
    yield kubectl
    if os.environ.get("CHATBOT_E2E_KEEP") != "1":
        kubectl.run("delete", "namespace", NAMESPACE, "--timeout=120s")


@pytest.fixture(scope="session")
def release(kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """The release, not installed yet; what is left of it at the end is taken away."""
    release = Release(kubectl, tmp_path_factory.mktemp("release"))
    release.make_secrets()
    release.uninstall()
    yield release
    if os.environ.get("CHATBOT_E2E_KEEP") != "1":
        release.uninstall()


@pytest.fixture(scope="session")
def entry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Entry]:
    """Where clients come in."""
    with open_entry(tmp_path_factory.mktemp("entry")) as addresses:
        yield addresses
