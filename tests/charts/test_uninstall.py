"""The Job that drains chat before `helm uninstall`: as the chart renders it, against a stand-in of Kubernetes."""

import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.charts.cases import LEAST, SWITCHES
from tests.charts.release import NAMESPACE, Release, merged, refusal, release
from tests.support.kube_api import KubeApi, StandInPod, kube_api

PERSISTENT = {"chat": {"outbox": {"persistence": {"enabled": True}}}}
SCALED = {"chat": {"autoscaling": {"mode": "connections", "prometheusUrl": "http://prometheus:9090"}}}
HOOKS = ("ServiceAccount", "Role", "RoleBinding", "Job")
WORKLOAD = "talk-chatbot-chat"


class Services:
    """History and the metrics of chat, as the Job asks them."""

    def __init__(self) -> None:
        self.history = 200
        self.oldest: Iterator[float] = iter(lambda: 0.0, 1.0)
        self.asked: list[str] = []

    def answer(self, path: str) -> tuple[int, str]:
        self.asked.append(path)
        if path == "/readyz":
            return self.history, "ready"
        assert path == "/metrics"
        return 200, f"# TYPE chatbot_outbox_oldest_seconds gauge\nchatbot_outbox_oldest_seconds {next(self.oldest)}\n"


@contextmanager
def serving(services: Services) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = services.answer(self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


class Uninstall:
    """One release, and the Job that drains it."""

    def __init__(self, folder: Path, values: Mapping[str, Any]) -> None:
        self.made = release(merged(LEAST, values))
        self.api = KubeApi(
            NAMESPACE, self.made.workload("chat")["kind"], WORKLOAD, self.made.one("Role", "-uninstall")["rules"]
        )
        self.api.scaled_object = "ScaledObject" in self.made.kinds()
        self.services = Services()
        self._folder = folder

    def run(self, seconds: float = 20, pod_seconds: float = 10) -> tuple[int, str, str]:
        """Run what the Job runs, at the addresses of the stand-ins; return its exit code and what it said."""
        (container,) = self.made.one("Job")["spec"]["template"]["spec"]["containers"]
        python, *command = container["command"]
        assert python == "python"
        with kube_api(self.api, self._folder) as server, serving(self.services) as port:
            args = [arg for arg in container["args"] if not arg.startswith(("--history", "--seconds", "--pod-seconds"))]
            args += [f"--history=http://127.0.0.1:{port}", f"--seconds={seconds}", f"--pod-seconds={pod_seconds}"]
            args += [f"--metrics-port={port}", f"--server={server}", f"--credentials={self._folder}"]
            done = subprocess.run(
                [sys.executable, *command, *args], capture_output=True, text=True, check=False, timeout=120
            )
        return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("values", [{}, PERSISTENT, SCALED, merged(PERSISTENT, SCALED)], ids=str)
def test_chat_is_drained_with_the_rights_that_the_chart_gives(tmp_path: Path, values: dict[str, Any]) -> None:
    uninstall = Uninstall(tmp_path, values)
    uninstall.api.add(StandInPod("one"), StandInPod("two", lasts=0.5))
    code, said, trouble = uninstall.run()
    assert (code, trouble) == (0, ""), said
    assert "2 pods of chat have ended in good order" in said
    assert (uninstall.api.replicas, uninstall.api.pods) == (0, {})
    assert uninstall.api.paused == ("0" if "autoscaling" in str(values) else None)
    assert set(uninstall.services.asked) == {"/readyz", "/metrics"}


def test_chat_is_not_sent_away_before_history_takes_what_it_holds(tmp_path: Path) -> None:
    uninstall = Uninstall(tmp_path, {})
    uninstall.api.add(StandInPod("one"))
    uninstall.services.oldest = iter([60.0, 61.0, 0.5])
    code, said, trouble = uninstall.run()
    assert (code, trouble) == (0, "")
    assert said.index("one holds exchanges that have waited for 60 s") < said.index("1 → 0 pods")


def test_with_history_away_nothing_is_changed_and_the_job_fails(tmp_path: Path) -> None:
    uninstall = Uninstall(tmp_path, SCALED)
    uninstall.api.add(StandInPod("one"))
    uninstall.services.history = 503
    code, _, trouble = uninstall.run(seconds=3, pod_seconds=1)
    assert code == 1
    assert "nothing was changed, chat goes on" in trouble
    assert "history does not answer" in trouble
    assert (uninstall.api.patches, uninstall.api.replicas) == ([], 1)


def test_an_outbox_that_is_not_delivered_keeps_the_release(tmp_path: Path) -> None:
    uninstall = Uninstall(tmp_path, {})
    uninstall.api.add(StandInPod("one"))
    uninstall.services.oldest = iter(lambda: 3600.0, 0.0)
    code, _, trouble = uninstall.run(seconds=3, pod_seconds=1)
    assert code == 1
    assert "one holds exchanges that have waited for 3600 s" in trouble
    assert uninstall.api.patches == []


def test_a_crashed_pod_may_hold_something_and_keeps_the_release(tmp_path: Path) -> None:
    uninstall = Uninstall(tmp_path, {})
    crashed = {"terminated": {"exitCode": 137}}
    uninstall.api.add(StandInPod("one", state={"waiting": {"reason": "CrashLoopBackOff"}}, last_state=crashed))
    code, _, trouble = uninstall.run(seconds=3, pod_seconds=1)
    assert code == 1
    assert "one does not run, so what its outbox holds is not known" in trouble


@pytest.mark.parametrize(
    ("state", "last_state"),
    [
        ({"waiting": {"reason": "ImagePullBackOff"}}, {}),
        ({}, {}),
        ({"waiting": {"reason": "CrashLoopBackOff"}}, {"terminated": {"exitCode": 2}}),
    ],
    ids=["never started", "pending", "wrong settings"],
)
def test_pods_that_never_served_hold_nothing_back(
    tmp_path: Path, state: dict[str, Any], last_state: dict[str, Any]
) -> None:
    uninstall = Uninstall(tmp_path, {})
    uninstall.api.add(StandInPod("one", ip="", state=state, last_state=last_state))
    uninstall.services.history = 503  # nobody looks: there is nothing to deliver
    assert uninstall.run()[0] == 0


@pytest.mark.parametrize(
    ("values", "where"),
    [({}, "went with them"), (PERSISTENT, "are on their volumes")],
    ids=["with the pod", "persistent"],
)
def test_a_pod_that_ends_with_something_left_over_is_told(tmp_path: Path, values: dict[str, Any], where: str) -> None:
    uninstall = Uninstall(tmp_path, values)
    uninstall.api.add(StandInPod("one"), StandInPod("two", exit_code=1))
    code, said, trouble = uninstall.run()
    assert code == 1
    assert "two has ended with exit code 1" in said
    assert "pods did not end in good order: two with 1" in trouble
    assert where in trouble
    assert f"kubectl scale {uninstall.api.kind.lower()} {WORKLOAD} --replicas=2" in trouble


def test_a_pod_that_is_removed_by_force_is_not_taken_for_one_that_delivered(tmp_path: Path) -> None:
    uninstall = Uninstall(tmp_path, {})
    uninstall.api.add(StandInPod("one"), StandInPod("two", exit_code=None))
    code, said, trouble = uninstall.run()
    assert code == 1
    assert "pods did not end in good order: two for unknown reasons" in trouble
    assert "history has all" not in said


LOST = {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}}


@pytest.mark.parametrize(
    "last_seen", [({"waiting": {"reason": "ContainerCreating"}}, LOST), (LOST, {})], ids=["kubelet of 1.20", "newer"]
)
def test_a_node_that_missed_the_end_of_a_pod_proves_nothing(tmp_path: Path, last_seen: Any) -> None:
    uninstall = Uninstall(tmp_path, {})
    uninstall.api.add(StandInPod("one"), StandInPod("two", last_seen=last_seen))
    code, _, trouble = uninstall.run()
    assert code == 1
    assert "pods did not end in good order: two for unknown reasons" in trouble


def test_a_pod_that_ends_between_two_watches_is_seen_to_end(tmp_path: Path) -> None:
    uninstall = Uninstall(tmp_path, {})
    uninstall.api.add(StandInPod("one"), StandInPod("two", exit_code=3))
    uninstall.api.late_watches = 1
    code, said, trouble = uninstall.run()
    assert code == 1
    assert "one has ended with exit code 0" in said
    assert "pods did not end in good order: two with 3;" in trouble


def test_pods_are_listed_again_when_the_cluster_has_forgotten_what_changed(tmp_path: Path) -> None:
    uninstall = Uninstall(tmp_path, {})
    uninstall.api.add(StandInPod("one", lasts=0.5))
    uninstall.api.forgotten_versions = 2
    code, said, trouble = uninstall.run()
    assert (code, trouble) == (0, ""), said
    assert uninstall.api.forgotten_versions == 0


def test_whatever_scales_chat_up_meanwhile_does_not_win(tmp_path: Path) -> None:
    uninstall = Uninstall(tmp_path, {})
    uninstall.api.add(StandInPod("one"))
    uninstall.api.scaled_up_again = 2
    code, said, _ = uninstall.run(seconds=60)
    assert code == 0
    assert "3 pods of chat have ended in good order" in said


def test_a_pod_that_does_not_end_is_named(tmp_path: Path) -> None:
    uninstall = Uninstall(tmp_path, SCALED)
    uninstall.api.add(StandInPod("one", lasts=600))
    code, _, trouble = uninstall.run(seconds=2, pod_seconds=1)
    assert code == 1
    assert "chat was scaled to 0, but these pods have not ended: one" in trouble
    assert "kubectl annotate scaledobject talk-chatbot-chat autoscaling.keda.sh/paused-replicas-" in trouble


def test_a_pod_that_was_evicted_is_not_waited_for(tmp_path: Path) -> None:
    uninstall = Uninstall(tmp_path, {})
    uninstall.api.add(StandInPod("one"), StandInPod("evicted", phase="Failed", state={}))
    code, said, _ = uninstall.run()
    assert code == 0
    assert "1 pods of chat have ended" in said


def test_a_second_run_has_nothing_to_do(tmp_path: Path) -> None:
    uninstall = Uninstall(tmp_path, {})
    uninstall.api.replicas = 0
    code, said, _ = uninstall.run()
    assert (code, uninstall.api.patches) == (0, [])
    assert "has no pods: nothing to drain" in said


def test_a_call_that_the_role_does_not_allow_is_told(tmp_path: Path) -> None:
    uninstall = Uninstall(tmp_path, {})
    uninstall.api.rules = []
    code, _, trouble = uninstall.run()
    assert code == 1
    assert "403" in trouble
    assert "is forbidden" in trouble


def hooks(made: Release) -> list[dict[str, Any]]:
    return [one for one in made.objects if "helm.sh/hook" in one["metadata"].get("annotations", {})]


@pytest.mark.parametrize("name", ["least", "values-prod.yaml", "persistent", "scaled by connections"])
def test_all_of_it_is_there_for_the_time_of_an_uninstall_only(name: str) -> None:
    made = release(SWITCHES[name])
    ours = [one for one in hooks(made) if one["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"]
    assert sorted(one["kind"] for one in ours) == sorted(HOOKS)
    job = made.one("Job")
    for one in ours:
        annotations = one["metadata"]["annotations"]
        assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
        assert int(annotations.get("helm.sh/hook-weight", 0)) <= (0 if one is job else -1)
    assert job["spec"]["backoffLimit"] == 0  # a second try would find no pods, and be content


@pytest.mark.parametrize("name", ["least", "values-prod.yaml", "persistent", "scaled by connections"])
def test_the_job_may_change_chat_only(name: str) -> None:
    made = release(SWITCHES[name])
    for rule in made.one("Role")["rules"]:
        if set(rule["verbs"]) <= {"list", "watch"}:
            assert rule["resources"] == ["pods"]
        else:
            assert rule["resourceNames"] == [made.workload("chat")["metadata"]["name"]]
            assert set(rule["verbs"]) <= {"get", "patch"}


def test_an_account_of_ones_own_takes_the_place_of_the_charts() -> None:
    made = release(merged(LEAST, {"uninstall": {"serviceAccountName": "mine"}}))
    assert not {"Role", "RoleBinding"} & made.kinds()
    assert made.one("Job")["spec"]["template"]["spec"]["serviceAccountName"] == "mine"


def test_it_can_be_switched_off() -> None:
    made = release(merged(LEAST, {"uninstall": {"drain": False}}))
    assert not {"Job", "Role", "RoleBinding"} & made.kinds()
    assert "uninstall" not in str(made.all("NetworkPolicy"))


def test_a_budget_that_does_not_fit_into_the_time_is_refused() -> None:
    said = refusal(merged(LEAST, {"drainSeconds": 300, "uninstall": {"timeoutSeconds": 240}}))
    assert "uninstall.timeoutSeconds (240) must be at least 360" in said


@pytest.mark.parametrize(("drain", "seconds"), [(25, 240), (300, 360), (3600, 3660)])
def test_the_time_follows_from_the_budget(drain: int, seconds: int) -> None:
    made = release(merged(LEAST, {"drainSeconds": drain}))
    grace = made.workload("chat")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    job = made.one("Job")["spec"]
    args = job["template"]["spec"]["containers"][0]["args"]
    assert job["activeDeadlineSeconds"] == seconds
    assert {f"--seconds={seconds - 10}", f"--pod-seconds={grace + 10}"} <= set(args)
