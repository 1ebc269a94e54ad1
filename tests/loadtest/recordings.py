"""Recordings of runs that never were: a few clients, two pools, and what history has."""

from collections.abc import Sequence
from dataclasses import replace

from loadtest.client_log import ClientExchange, ClientRecords, SchedulingDelay, UnexpectedEvent, Visit, digest
from loadtest.criteria import RunLimits
from loadtest.metrics import Metric
from loadtest.monitor import POOLS, PodSample, PoolSample, ProcessSample
from loadtest.readback import ReadExchange
from loadtest.recording import Fault, RunInfo, RunRecording

LIMITS = RunLimits(connections=2, messages=4, connect_wait_seconds=10, lease_seconds=4)


def visit(name: str, asked: float, answered: float, left: float | None = None, **more: object) -> Visit:
    fields: dict[str, object] = {
        "id": name, "client": name, "zone": "UTC", "habit": "Chatter", "session": f"session-{name}",
        "asked_at": asked, "answered_at": answered, "left_at": left, "ended_at": left, "entrance": "let_in",
        "close_code": 1000, "by_us": True,
    }  # fmt: skip
    return Visit(**{**fields, **more})  # type: ignore[arg-type]


def denied(name: str, asked: float, answered: float, code: str = "cluster_full") -> Visit:
    return visit(name, asked, answered, entrance="denied", status=503, code=code, session="", by_us=False)


def exchange(of: str, number: int, said: str = "", **more: object) -> ClientExchange:
    text = said or f"hello {number}"
    fields: dict[str, object] = {
        "visit": of, "number": number, "kind": "text", "said": text, "sent_at": 20 + number, "ended_at": 20.5 + number,
        "outcome": "answered", "reply": digest(f"you said {text}"),
    }  # fmt: skip
    return ClientExchange(**{**fields, **more})  # type: ignore[arg-type]


def kept(of: ClientExchange, *, session: str | None = None) -> ReadExchange:
    return ReadExchange(
        session=session or f"session-{of.visit}", id=f"{of.visit}-{of.number}", kind=of.kind, said=of.said,
        reply=of.reply, voice_bytes=of.voice_bytes, image_bytes=of.image_bytes, message_id=of.message_id,
    )  # fmt: skip


def sample(at: float, pool: str = "connections", **more: object) -> PoolSample:
    capacity = getattr(LIMITS, pool)
    fields: dict[str, object] = {
        "at": at, "pool": pool, "held": 0, "capacity": capacity, "high_water": capacity, "waiting": 0,
        "learning": False, "reaped": 0, "newest_held": 0, "oldest_waiting": 0,
    }  # fmt: skip
    return PoolSample(**{**fields, **more})  # type: ignore[arg-type]


def pods(at: float, took: float = 0.01, **figures: dict[Metric, float]) -> PodSample:
    return PodSample(at=at, took_seconds=took, figures={pod: dict(found.items()) for pod, found in figures.items()})


def recording(
    visits: Sequence[Visit] = (),
    exchanges: Sequence[ClientExchange] = (),
    *,
    samples: Sequence[PoolSample] = (),
    pods_looks: Sequence[PodSample] = (),
    processes: Sequence[ProcessSample] = (),
    history: Sequence[ReadExchange] | None = None,
    faults: Sequence[Fault] = (),
    late: Sequence[SchedulingDelay] = (),
    unexpected_events: Sequence[UnexpectedEvent] = (),
    troubles: Sequence[str] = (),
) -> RunRecording:
    """A recording of what is given; history has what was answered, if nothing else is said."""
    answered = [kept(one) for one in exchanges if one.outcome == "answered"]
    before = [sample(0, pool, high_water=0) for pool in POOLS]
    return RunRecording(
        run=RunInfo(
            shape="made-up", limits=LIMITS, began_at=0, ended_at=100, must_reach=("connections", "messages"),
            troubles=tuple(troubles),
        ),
        clients=ClientRecords({one.id: one for one in visits}, list(exchanges), list(late), list(unexpected_events)),
        pools=sorted([*before, sample(90), sample(90, "messages"), *samples], key=lambda one: one.at),
        pods=[*pods_looks, pods(99, chat={Metric.OUTBOX_RECORDS: 0})],
        processes=list(processes),
        faults=list(faults),
        stored=answered if history is None else list(history),
    )  # fmt: skip


def sound() -> RunRecording:
    """Four clients share two places, in turn; two have to wait, and one is told to come again."""
    visits = [
        visit("anna", 1, 1.1, 30), visit("ben", 2, 2.1, 31), visit("cleo", 21, 30.1, 40), visit("dan", 22, 31.1, 41),
        denied("eve", 23, 33),
    ]  # fmt: skip
    exchanges = [exchange(one, number) for one in ("anna", "ben", "cleo") for number in range(3)]
    exchanges[-1] = replace(exchanges[-1], message_id="m", attempts=2)
    samples = [sample(25, held=2, waiting=2, newest_held=2, oldest_waiting=3)]
    return recording(visits, exchanges, samples=samples)
