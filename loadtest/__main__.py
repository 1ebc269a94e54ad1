"""Run a swarm, watch the limits, and report whether the promises were kept: ./taskw load -- --help."""

import argparse
import asyncio
import os
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from loadtest.criteria import RunLimits
from loadtest.monitor import check_store
from loadtest.plans import PLANS, Plan
from loadtest.recording import read_recording
from loadtest.report.picture import write_pictures
from loadtest.report.write import PAGE, write_report
from loadtest.run import FaultInjector, LoadRun
from loadtest.target import Target
from loadtest.waiting import STOP_SIGNALS, wait_for_fetch
from permits.redis.keys import DEFAULT_PREFIX
from servicekit.terminal import replace_unencodable

EXIT_BROKEN = 1
EXIT_USAGE = 2
EXIT_FAILED = 3
CHAOS_LEASE_SECONDS = 12.0
RUNS = Path("data/load")
LOCAL = "127.0.0.1"


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    replace_unencodable()
    options = _parser().parse_args(argv)
    try:
        return _run(options)
    except KeyboardInterrupt:  # before the swarm, or after it; meanwhile it ends the swarm
        print("loadtest: stopped before there was anything to report", file=sys.stderr)
        return EXIT_FAILED


def _run(options: argparse.Namespace) -> int:
    if options.plan == "report" and options.folder is None:
        return _usage("report needs the --folder of a run")
    if options.plan == "report":
        return _report(options.folder, options.pictures)
    try:
        plan, limits = _plan(options), _limits(options)
        if options.chat:
            asyncio.run(check_store(options.redis, options.permits_prefix))
    except ValueError as exc:
        return _usage(str(exc))
    folder = (options.folder or RUNS / f"{plan.name}-{time.strftime('%Y%m%d-%H%M%S')}").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        return _usage(f"{folder} is not empty; each run needs a folder of its own")
    try:
        with ExitStack() as running:
            target, fault_injector = _target(options, plan, limits, folder, running)
            asyncio.run(_drive(options, target, plan, folder, fault_injector))
    except (AssertionError, OSError) as exc:  # of a server that does not start, or does not end
        print(f"loadtest: the system did not do what it should: {exc}", file=sys.stderr)
        return EXIT_FAILED
    code = _report(folder)
    if options.linger:
        wait_for_fetch(options.linger, f"so that {folder} can be fetched")
    return code


async def _drive(
    options: argparse.Namespace, target: Target, plan: Plan, folder: Path, fault_injector: FaultInjector | None
) -> None:
    stop = asyncio.Event()
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if plan.shape is None:
        print(f"open http://{LOCAL}:{options.web_port} and start a swarm; Ctrl-C here ends it and writes the report")
    here = ["--web-host", LOCAL, "--web-port", str(options.web_port)] if plan.shape is None else []
    if options.expect_workers and not options.chat:  # the system is on this machine, and so must they be
        here += ["--master-bind-host", LOCAL]
    print(f"{plan.name}: clients connect to {', '.join(target.chat)}; the recording is in {_short(folder)}")
    await LoadRun(
        target=target, plan=plan, folder=folder, stop=stop, fault_injector=fault_injector,
        expected_workers=options.expect_workers,
        locust_options=here, env={"LOADTEST_SOAK_SECONDS": str(plan.seconds)},
    ).run()  # fmt: skip


def _target(
    options: argparse.Namespace, plan: Plan, limits: RunLimits, folder: Path, running: ExitStack
) -> tuple[Target, FaultInjector | None]:
    """Return the system that is named on the command line, or start one here."""
    if options.chat:
        metrics = dict(pair.split("=", 1) for pair in options.metrics)
        return Target(
            chat=tuple(options.chat),
            history=options.history,
            redis_url=options.redis,
            metrics=metrics,
            limits=limits,
            permits_prefix=options.permits_prefix,
        ), None
    from loadtest.chaos import inject_faults  # noqa: PLC0415 - what runs servers is not where a swarm only visits them
    from loadtest.local_system import run_system  # noqa: PLC0415

    print("starting Valkey, MongoDB, S3, two history and two chat processes")
    servers = Path(running.enter_context(TemporaryDirectory(prefix="loadtest-")))
    running.callback(_keep_logs, servers, folder / "logs")
    system = running.enter_context(run_system(servers, limits, typing_seconds=plan.typing_seconds))
    return system.target, partial(inject_faults, system) if options.chaos else None


def _keep_logs(servers: Path, logs: Path) -> None:
    logs.mkdir(exist_ok=True)
    for log in servers.glob("*/*.log"):
        shutil.copy(log, logs / log.name)


def _report(folder: Path, pictures: Path | None = None) -> int:
    try:
        kept = write_report(folder)
        if pictures is not None:
            write_pictures(read_recording(folder), pictures)
    except FileNotFoundError as exc:
        return _usage(f"{folder} holds no run: {exc.filename} is missing")
    print(f"\n{'all promises kept' if kept else 'BROKEN PROMISES'}; the report is {_short(folder / PAGE)}")
    return 0 if kept else EXIT_BROKEN


def _plan(options: argparse.Namespace) -> Plan:
    plan = PLANS[options.plan]
    if options.seconds is not None:
        if plan.name != "soak":
            raise ValueError("--seconds is for soak; the other plans have a fixed length")
        plan = replace(plan, seconds=options.seconds)
    if options.chaos and options.chat:
        raise ValueError("--chaos breaks the system that is started here; leave out --chat")
    if options.chat and not (options.history and options.redis):
        raise ValueError("--chat needs --history and --redis")
    if any("=" not in pair for pair in options.metrics):
        raise ValueError("--metrics wants NAME=URL, such as chat-0=http://10.0.0.7:9000/metrics")
    given = {"typing_seconds": options.typing, "window": options.window}
    return replace(plan, **{name: value for name, value in given.items() if value is not None})


def _limits(options: argparse.Namespace) -> RunLimits:
    usual = CHAOS_LEASE_SECONDS if options.chaos else RunLimits().lease_seconds
    return RunLimits(
        connections=options.connections,
        messages=options.messages,
        window=options.window or PLANS[options.plan].window,
        connect_wait_seconds=options.connect_wait,
        lease_seconds=options.lease or usual,
    )


def _parser() -> argparse.ArgumentParser:
    usual = RunLimits()
    parser = argparse.ArgumentParser(
        prog="loadtest",
        description="Run a Locust swarm against a system on this machine or elsewhere, and check its promises.",
        epilog="Exit codes: 0 all promises kept, 1 one broken, 2 wrong command line, 3 the system does not start or "
        "end. docs/load-testing.md says how to read the report.",
    )
    parser.add_argument(
        "plan", choices=[*PLANS, "report"], help="what to run; report: write the report of --folder anew"
    )
    parser.add_argument("--folder", type=Path, help=f"folder of the recording and the report (a new one in {RUNS})")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="report: write each plot as an SVG, too")
    parser.add_argument("--chaos", action="store_true", help="kill a chat process and restart Valkey in the middle")
    parser.add_argument("--seconds", type=_positive, help="how long a soak takes (3600)")
    parser.add_argument("--web-port", type=_natural, default=8089, help="of Locust's page, for ui (%(default)s)")
    limits = parser.add_argument_group("limits: settings of the system, which the run checks")
    limits.add_argument("--connections", type=_natural, default=usual.connections, help="(%(default)s)")
    limits.add_argument("--messages", type=_natural, default=usual.messages, help="(%(default)s)")
    limits.add_argument("--window", type=_natural, help="unanswered requests of one connection (as in the plan)")
    limits.add_argument(
        "--typing", type=_positive, metavar="SECONDS", help="pause of the bot before a reply (as in the plan)"
    )
    limits.add_argument("--connect-wait", type=_positive, metavar="SECONDS", default=usual.connect_wait_seconds)
    limits.add_argument("--lease", type=_positive, metavar="SECONDS", help=f"({usual.lease_seconds:g})")
    there = parser.add_argument_group("a running system")
    there.add_argument("--chat", action="append", metavar="URL", help="ws:// or wss://; several are used in turn")
    there.add_argument("--history", metavar="URL")
    redis_url = os.environ.get("CHAT_REDIS_URL", "").strip() or None  # a Secret made of a file ends in a line feed
    there.add_argument("--redis", metavar="URL", default=redis_url, help="or CHAT_REDIS_URL")
    prefix = os.environ.get("CHAT_PERMITS_PREFIX", "").strip() or DEFAULT_PREFIX
    there.add_argument(
        "--permits-prefix", metavar="PREFIX", default=prefix,
        help="prefix of the keys of the limits: permits:NAMESPACE:RELEASE for a release of the chart (%(default)s)",
    )  # fmt: skip
    there.add_argument(
        "--metrics", action="append", default=[], metavar="NAME=URL",
        help="a metrics page; a host with several addresses stands for a pod at each of them",
    )  # fmt: skip
    there.add_argument("--expect-workers", type=_natural, default=0, help="Locust workers of other machines or pods")
    there.add_argument(
        "--linger", type=_positive, metavar="SECONDS", help="keep running after the report, so that it can be fetched"
    )
    return parser


def _usage(trouble: str) -> int:
    print(f"loadtest: {trouble}", file=sys.stderr)
    return EXIT_USAGE


def _natural(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise ValueError
    return value


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    sys.exit(main())
