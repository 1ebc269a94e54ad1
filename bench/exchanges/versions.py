"""What `chatbot.v2` costs beside `chatbot.v1`, on the same pods, in turns."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from bench.exchanges.contenders import OURS, ChatContender, Step, Testbed
from bench.exchanges.drive import closed_loop
from bench.exchanges.observe import Figures, observed, samples
from bench.exchanges.report import CPU, ReportRow
from bench.exchanges.streamer import PIECES
from bench.exchanges.terms import ExchangeTerms
from bench.exchanges.texts import TEXT
from bench.exchanges.wire import BINARY, client_frame
from frameproto import Request, RequestKind
from frameproto.v2 import MessageRequest, encode_client_frame

TEXT_V2: Final = client_frame(
    BINARY, encode_client_frame(MessageRequest(UUID(int=1), Request(RequestKind.TEXT, b"say good luck")))
)
FRAMES: Final = {"v1": TEXT, "v2": TEXT_V2}
OF_V1: Final = "of v1's CPU"
A_PIECE: Final = "CPU µs a piece"
LISTENERS: Final = 4


async def measure_versions(testbed: Testbed, terms: ExchangeTerms, names: Sequence[str], step: Step) -> list[ReportRow]:
    """Measure one text in flight on each connection, over either version."""
    if OURS not in names:
        return []
    pod = testbed.chat_pod("versions")
    found = await _measure(pod, terms, step, part="v2", connections=terms.connections, count=terms.texts)
    case = f"{terms.connections} connections, 1 in flight on each"
    return [ReportRow("v2", case, f"{OURS}, {name}", samples(figures)) for name, figures in found.items()]


async def measure_pieces(testbed: Testbed, terms: ExchangeTerms, names: Sequence[str], step: Step) -> list[ReportRow]:
    """Measure replies in pieces; over v1 the same bot replies, and nothing is shown before the reply is whole."""
    if OURS not in names:
        return []
    pod = testbed.chat_pod("pieces", CHAT_BOT="bench.exchanges.streamer:reply")
    found = await _measure(pod, terms, step, part="pieces", connections=LISTENERS, count=terms.streamed)
    for figures in found.values():
        for one in figures:
            one[A_PIECE] = one[CPU] / PIECES
    case = f"replies of {PIECES} pieces, {LISTENERS} connections"
    return [ReportRow("pieces", case, f"{OURS}, {name}", samples(figures)) for name, figures in found.items()]


async def _measure(
    pod: ChatContender, terms: ExchangeTerms, step: Step, *, part: str, connections: int, count: int
) -> dict[str, list[Figures]]:
    found: dict[str, list[Figures]] = {name: [] for name in FRAMES}
    for _ in range(terms.repeats):
        for name, frame in FRAMES.items():
            contender = replace(pod, speaks_v2=name == "v2")
            async with contender.connections(connections, len(frame)) as peers:
                await closed_loop(peers, frame, max(len(peers), count // 10))  # warm up
                await contender.settle()
                found[name].append(await observed(contender, closed_loop(peers, frame, count)))
            step(f"{part}: {name}")
        found["v2"][-1][OF_V1] = found["v2"][-1][CPU] / found["v1"][-1][CPU]
    return found
