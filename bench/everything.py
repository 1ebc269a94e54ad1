"""A short form of every benchmark, and one table of what they found: ./taskw bench.

The figures of a short form have wide spreads; each benchmark by itself is what to quote from.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench.exchanges.contenders import FLOOR, OURS, WS_USUAL
from bench.exchanges.idle import MEMORY
from bench.exchanges.observe import LAG, P99, RATE
from bench.exchanges.ours import SHARE
from bench.exchanges.report import CPU

ROOT: Final = Path(__file__).parents[1]
PIPED_WIDTH: Final = 120
PERMITS: Final = "permits (ours)"
TASKS: Final = 50
Line = tuple[str, str]
"""What a figure is, and the figure with its unit."""


@dataclass(frozen=True, slots=True)
class Bench:
    """One benchmark.

    Attributes:
        module: what runs.
        short: the arguments of its short form.
        lines: what of its JSON the table shows.
        own_environment: it runs in the environment of benchmarks.
        prints_json: it prints JSON, instead of writing a file.
    """

    module: str
    short: Sequence[str]
    lines: Callable[[Any], Iterator[Line]]
    own_environment: bool = False
    prints_json: bool = False


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is asked for; return 1 when one of them failed."""
    parser = argparse.ArgumentParser(prog="bench", description="A short form of every benchmark, and one table.")
    parser.add_argument("--only", choices=BENCHES, action="append", help="run this one only; may be repeated")
    parser.add_argument("--shortest", action="store_true", help="only to see that they run; the figures mean nothing")
    parser.add_argument("--bench-python", type=Path, help="the interpreter of the environment of benchmarks")
    options = parser.parse_args(argv)
    table = Table("", "", "", box=SIMPLE, pad_edge=False, show_header=False)
    table.columns[2].justify = "right"
    failed = False
    for name in options.only or BENCHES:
        bench = BENCHES[name]
        if bench.own_environment and options.bench_python is None:
            table.add_row(name, "NOT MEASURED: --bench-python is missing", "")
            failed = True
            continue
        found = _run(bench, options.bench_python, SHORTEST.get(name, bench.short) if options.shortest else bench.short)
        if found is None:
            table.add_row(name, "FAILED, see above", "")
            failed = True
            continue
        for number, (what, figure) in enumerate(bench.lines(found)):
            table.add_row("" if number else name, what, figure)
        table.add_section()
    console = Console()
    (console if console.is_terminal else Console(width=PIPED_WIDTH)).print(table)
    return 1 if failed else 0


def _run(bench: Bench, bench_python: Path | None, short: Sequence[str]) -> Any | None:  # noqa: ANN401 - JSON
    """Run one, its own tables and progress on the standard error; return its JSON, None when it failed."""
    python = bench_python if bench.own_environment and bench_python else Path(sys.executable)
    print(f"\n{bench.module} {' '.join(short)}", file=sys.stderr, flush=True)
    with TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder) / "found.json"
        command = [str(python), "-m", bench.module, *short, "--json"]
        if bench.prints_json:
            with file.open("w", encoding="utf-8") as out:
                done = subprocess.run(command, cwd=ROOT, stdout=out, check=False)
        else:
            done = subprocess.run([*command, str(file)], cwd=ROOT, stdout=sys.stderr, check=False)
        if not file.exists() or not (text := file.read_text(encoding="utf-8")):
            return None
        return json.loads(text) if done.returncode == 0 or bench.prints_json else None


OF_OURS: Final = (
    ("text", CPU, "CPU of a text, delivered", 1, ",.0f", "µs"),
    ("text", "cpu_ratio_to_floor", f"… of the {FLOOR}", 1, ".1f", "times"),
    ("text", "cpu_ratio_to_usual_node", f"… of {WS_USUAL}", 1, ".2f", "times"),
    ("text", RATE, "texts a second", 1, ",.0f", ""),
    ("offered", P99, "p99 at a fixed rate", 1000, ",.1f", "ms"),
    ("offered", LAG, "p99 of the event loop's lag at that rate", 1000, ",.1f", "ms"),
    ("idle", MEMORY, "memory of an idle connection", 1, ",.1f", "KiB"),
    ("idle", RATE, "accepts a second, with permits", 1, ",.0f", ""),
    ("voice", CPU, "CPU of a voice note, without workers", 1000, ",.2f", "ms"),
    ("fsync", SHARE, "rate with fsync, of that without", 1, ".2f", "times"),
)
"""Part, figure, what it is, what it is divided by, its form, its unit."""


def _exchange(found: Any) -> Iterator[Line]:  # noqa: ANN401 - JSON
    ours = [row for row in found["rows"] if row["contender"].startswith(OURS)]
    for part, figure, what, divisor, form, unit in OF_OURS:
        rows = [row for row in ours if row["part"] == part and (figure in row["figures"] or row.get(figure))]
        if rows:
            value = rows[0][figure] if figure in rows[0] else rows[0]["figures"][figure]["median"]
            yield what, f"{value / divisor:{form}} {unit}".strip()


def _script(found: Any) -> Iterator[Line]:  # noqa: ANN401 - JSON
    yield "300 rules, of what 20 cost", f"{found['ratio']:.2f} times"
    for name, figures in found["cpu_us"].items():
        if name.startswith("a reply"):
            yield f"CPU of {name}", f"{figures['median']:.1f} µs"


def _outbox(found: Any) -> Iterator[Line]:  # noqa: ANN401 - JSON
    for name, figures in found.items():
        yield f"kept and let go of: {name}", f"{figures['keep_us']['median'] + figures['deliver_us']['median']:.1f} µs"


def _permits(found: Any) -> Iterator[Line]:  # noqa: ANN401 - JSON
    for row in found["pairs"]:
        if row["contender"] == PERMITS and row["tasks"] == TASKS:
            yield f"pairs a second, {TASKS} tasks", f"{row['per_second']['median']:,.0f}"
            yield "… of bare redis-py calls", f"{row['ratio_to_redis_py']:.1f} times"


def _scripts(found: Any) -> Iterator[Line]:  # noqa: ANN401 - JSON
    title, times = max(found.items(), key=lambda item: item[1]["longest_ms"])
    yield f"longest call: {title}", f"{times['longest_ms']:.2f} ms"


def _history(found: Any) -> Iterator[Line]:  # noqa: ANN401 - JSON
    for row in found["ingest"]:
        yield f"ingest, {row['contender']}, {row['writers']} at once", f"{row['per_second']['median']:,.0f} a second"


def _pods(found: Any) -> Iterator[Line]:  # noqa: ANN401 - JSON
    yield "memory of a chat pod at rest", f"{found['chat_rest_mib']:.0f} MiB"
    yield "CPU of a text: Valkey, history", f"{found['text_valkey_us']:.0f}, {found['text_history_us']:.0f} µs"
    yield "CPU of a voice note: workers", f"{found['voice_workers_us'] / 1000:.1f} ms"


BENCHES: Final[dict[str, Bench]] = {
    "exchange": Bench("bench.exchange", ("--quick",), _exchange),
    "script": Bench("bench.script_matching", ("--repeats", "3", "--texts", "4000"), _script),
    "outbox": Bench("bench.outbox", ("--repeats", "3", "--exchanges", "2000"), _outbox),
    "permits": Bench("bench.permits", ("--quick",), _permits, own_environment=True),
    "scripts": Bench("bench.script_times", (), _scripts, prints_json=True),
    "history": Bench("bench.history", ("--quick", "--part", "ingest"), _history),
    "pods": Bench(
        "bench.pods",
        ("--connections", "500", "--talkers", "20", "--texts", "4000", "--voices", "20"),
        _pods,
    ),
}
SHORTEST: Final = {
    "exchange": ("--shortest",),
    "script": ("--repeats", "1", "--texts", "10"),
    "outbox": ("--repeats", "1", "--exchanges", "60"),
    "permits": ("--quick", "--repeats", "1", "--part", "pairs"),
    "history": ("--quick", "--part", "ingest", "--repeats", "1", "--batch", "40"),
    "pods": ("--connections", "20", "--talkers", "2", "--texts", "200", "--voices", "2"),
}


if __name__ == "__main__":
    sys.exit(main())
