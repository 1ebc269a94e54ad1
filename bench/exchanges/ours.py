"""What only our service does: voice notes that are decoded and answered by voice, replies that wait for the disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psutil

from bench.exchanges.contenders import OURS, ChatContender, Step, Testbed
from bench.exchanges.cores import cpu_us
from bench.exchanges.drive import closed_loop, open_loop
from bench.exchanges.observe import RATE, Figures, observed, samples
from bench.exchanges.report import ReportRow
from bench.exchanges.terms import ExchangeTerms
from bench.exchanges.texts import TEXT
from bench.exchanges.wire import BINARY, client_frame
from frameproto import RequestKind

VOICE: Final = (Path(__file__).parents[2] / "samples" / "hello.mp3").read_bytes()
TALKERS: Final = 4
WORKERS: Final = "workers' CPU µs"
SHARE: Final = "of never's rate"


async def measure_voice(testbed: Testbed, terms: ExchangeTerms, names: Sequence[str], step: Step) -> list[ReportRow]:
    """Measure voice notes, and texts at the same pace; CPU is that of the chat process without its workers.

    A process that does something ten times a second finds nothing of it in the caches of its core, and pays for each
    wake-up. So texts at that pace cost many times what they cost in a crowd, and are what a voice note compares with.
    """
    if OURS not in names:
        return []
    contender = testbed.chat_pod("voice")
    frame = client_frame(BINARY, bytes((RequestKind.VOICE,)) + VOICE)
    voices: list[Figures] = []
    texts: list[Figures] = []
    async with contender.connections(min(TALKERS, terms.connections), len(frame)) as peers:
        await closed_loop(peers, frame, len(peers))
        await contender.settle()
        for _ in range(terms.repeats):
            before = _workers_us(contender)
            figures = await observed(contender, closed_loop(peers, frame, terms.voices), probe=False)
            voices.append({**figures, WORKERS: (_workers_us(contender) - before) / terms.voices})
            at_that_pace = open_loop(peers, TEXT, terms.voices, figures[RATE])
            texts.append(await observed(contender, at_that_pace, probe=False))
            step("voice")
    case = "a note is decoded, and the reply spoken, one worker"
    return [
        ReportRow("voice", case, OURS, samples(voices)),
        ReportRow("voice", case, f"{OURS}, texts at that pace", samples(texts)),
    ]


async def measure_fsync(testbed: Testbed, terms: ExchangeTerms, names: Sequence[str], step: Step) -> list[ReportRow]:
    """Measure texts whose replies wait until the record is on the disk, beside those that do not."""
    if OURS not in names:
        return []
    pods = {fsync: testbed.chat_pod(f"fsync-{fsync}", CHAT_OUTBOX_FSYNC=fsync) for fsync in ("never", "always")}
    found: dict[str, list[Figures]] = {fsync: [] for fsync in pods}
    for _ in range(terms.repeats):
        for fsync, pod in pods.items():
            async with pod.connections(terms.connections, 0) as peers:
                await closed_loop(peers, TEXT, len(peers))
                await pod.settle()
                figures = await observed(pod, closed_loop(peers, TEXT, terms.texts))
            found[fsync].append(figures)
            step(f"fsync: {fsync}")
        found["always"][-1][SHARE] = found["always"][-1][RATE] / found["never"][-1][RATE]
    case = f"{terms.connections} connections, 1 in flight on each"
    return [ReportRow("fsync", case, f"{OURS}, {fsync}", samples(figures)) for fsync, figures in found.items()]


def _workers_us(pod: ChatContender) -> float:
    return sum(cpu_us(child.pid) for child in psutil.Process(pod.pid).children(recursive=True))
