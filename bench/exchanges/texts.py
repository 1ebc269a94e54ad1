"""The text exchange: one in flight a connection, several, and at a fixed rate."""

from collections.abc import Sequence
from typing import Final

from bench.exchanges.contenders import Step, Testbed
from bench.exchanges.drive import closed_loop, open_loop
from bench.exchanges.observe import Figures, observed, samples
from bench.exchanges.report import ReportRow
from bench.exchanges.terms import ExchangeTerms
from bench.exchanges.wire import BINARY, client_frame

TEXT: Final = client_frame(BINARY, b"\x00say good luck")
REPLY_BYTES: Final = 24


async def measure_texts(testbed: Testbed, terms: ExchangeTerms, names: Sequence[str], step: Step) -> list[ReportRow]:
    """Measure one text in flight on each connection."""
    return await _measure(testbed, terms, names, step, part="text", window=1)


async def measure_windows(testbed: Testbed, terms: ExchangeTerms, names: Sequence[str], step: Step) -> list[ReportRow]:
    """Measure a window of texts in flight on each connection."""
    return await _measure(testbed, terms, names, step, part="window", window=terms.window)


async def measure_offered(testbed: Testbed, terms: ExchangeTerms, names: Sequence[str], step: Step) -> list[ReportRow]:
    """Measure how long replies take when texts come at a fixed rate."""
    found: dict[str, list[Figures]] = {}
    count = int(terms.offered * terms.offered_seconds)
    for _ in range(terms.repeats):
        for name in names:
            contender = testbed.contender(name)
            async with contender.connections(terms.connections, len(TEXT), REPLY_BYTES) as peers:
                await closed_loop(peers, TEXT, len(peers))
                figures = await observed(contender, open_loop(peers, TEXT, count, terms.offered))
            found.setdefault(name, []).append(figures)
            step(f"offered: {name}")
    case = f"{terms.offered:,} texts/s offered over {terms.connections} connections, counted from when each was due"
    return [ReportRow("offered", case, name, samples(figures)) for name, figures in found.items()]


async def _measure(
    testbed: Testbed, terms: ExchangeTerms, names: Sequence[str], step: Step, *, part: str, window: int
) -> list[ReportRow]:
    found: dict[str, list[Figures]] = {}
    for _ in range(terms.repeats):
        for name in names:
            contender = testbed.contender(name)
            async with contender.connections(terms.connections, len(TEXT), REPLY_BYTES) as peers:
                await closed_loop(peers, TEXT, max(len(peers), terms.texts // 10), window)  # warm up
                await contender.settle()
                figures = await observed(contender, closed_loop(peers, TEXT, terms.texts, window))
            found.setdefault(name, []).append(figures)
            step(f"{part}: {name}")
    case = f"{terms.connections} connections, {window} in flight on each"
    return [ReportRow(part, case, name, samples(figures)) for name, figures in found.items()]
