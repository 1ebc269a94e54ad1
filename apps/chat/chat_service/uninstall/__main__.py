"""Drain chat before a release is taken away: the chart's Job runs `python -m chat_service.uninstall`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from chat_service.uninstall.cluster import RESOURCES, ClusterError, KubernetesApi
from chat_service.uninstall.drain import Drain, DrainPlan, NotDrained

CREDENTIALS: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
EXIT_FAILURE: Final = 1


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m chat_service.uninstall",
        description="Wait until history takes deliveries, scale chat to no pods, and wait until all have ended well. "
        "It talks to the Kubernetes API as the pod that it runs in.",
    )
    parser.add_argument("--kind", required=True, choices=RESOURCES, help="what chat is")
    parser.add_argument("--name", required=True, help="its name")
    parser.add_argument("--selector", required=True, help="the labels of its pods, a=b,c=d")
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--history", required=True, metavar="URL", help="where chat delivers")
    parser.add_argument("--metrics-port", type=int, default=9000, help="of a chat pod")
    parser.add_argument("--seconds", type=float, required=True, help="how long all of it may take")
    parser.add_argument("--pod-seconds", type=float, required=True, help="how long a pod may take to end")
    parser.add_argument("--keda", action="store_true", help="a ScaledObject of the same name scales it")
    parser.add_argument("--keeps", action="store_true", help="its outboxes outlive their pods")
    parser.add_argument("--server", default=_server(), metavar="URL", help="the API server, if it is another")
    parser.add_argument("--credentials", type=Path, default=CREDENTIALS, help="folder with token and ca.crt")
    return parser.parse_args(argv)


def _server() -> str:
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Drain chat; return the exit code."""
    given = _arguments(argv)
    plan = DrainPlan(
        kind=given.kind,
        name=given.name,
        selector=given.selector,
        keda=given.keda,
        keeps=given.keeps,
        history_url=given.history.rstrip("/"),
        metrics_port=given.metrics_port,
        seconds=given.seconds,
        pod_seconds=given.pod_seconds,
    )
    try:
        Drain(plan, KubernetesApi(given.server, given.namespace, given.credentials), _tell).run()
    except (NotDrained, ClusterError) as exc:
        sys.stderr.write(f"not uninstalled: {exc}\n")
        return EXIT_FAILURE
    return 0


if __name__ == "__main__":
    sys.exit(main())
