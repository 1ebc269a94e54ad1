"""Large messages: what it costs to take them in, keep them and deliver them, with nothing spent on decoding them."""

from collections.abc import Sequence
from typing import Final

from bench.exchanges.contenders import BARE, OURS, Step, Testbed
from bench.exchanges.drive import closed_loop
from bench.exchanges.observe import Figures, observed, samples
from bench.exchanges.report import ReportRow
from bench.exchanges.terms import ExchangeTerms
from bench.exchanges.wire import BINARY, client_frame
from frameproto import RequestKind

SIZES: Final = {"100 KB": 100_000, "2 MB": 2_000_000}
CONNECTIONS: Final = 10
FEWER_OF_LARGE: Final = 4
REPLY_BYTES: Final = 64


async def measure_bodies(testbed: Testbed, terms: ExchangeTerms, names: Sequence[str], step: Step) -> list[ReportRow]:
    """Measure voice messages of each size, one in flight a connection; the bare servers answer with 64 bytes."""
    contenders = [testbed.contender(name) for name in names if name in BARE]
    if OURS in names:
        contenders.append(testbed.chat_pod("bodies", media=False))
    connections = min(CONNECTIONS, terms.connections)
    found: dict[tuple[str, str], list[Figures]] = {}
    for title, size in SIZES.items():
        frame = client_frame(BINARY, bytes((RequestKind.VOICE,)) + bytes(size))
        count = terms.bodies if size < 1 << 20 else max(1, terms.bodies // FEWER_OF_LARGE)
        for _ in range(terms.repeats):
            for contender in contenders:
                async with contender.connections(connections, len(frame), REPLY_BYTES) as peers:
                    await closed_loop(peers, frame, len(peers))
                    await contender.settle()
                    figures = await observed(contender, closed_loop(peers, frame, count))
                found.setdefault((title, contender.name), []).append(figures)
                step(f"bodies: {title}, {contender.name}")
    case = f"over {connections} connections, media work left out"
    return [ReportRow("bodies", f"{title} {case}", name, samples(figures)) for (title, name), figures in found.items()]
