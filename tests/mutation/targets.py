"""Which tests should notice a change to which modules."""

import importlib.machinery
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Target:
    """Modules that share their tests.

    Attributes:
        modules: names of modules.
        tests: arguments of pytest. A change is tried with those of them that run the changed line.
    """

    modules: tuple[str, ...]
    tests: tuple[str, ...]


def _parts(package: str, names: str) -> tuple[str, ...]:
    return tuple(f"{package}.{name}" for name in names.split())


_CONTRACT = tuple(
    f"tests/contract/test_permit_pool{what}.py" for what in ("", "_use", "_request", "_places", "_observer")
)
_ON_VALKEY = "not memory and not redis- and not fork and not killed and not paused"
"""The tests of one store, without those of processes that the tool does not see into."""
TARGETS = (
    Target(
        _parts("chat_service", "relay delivery failed_records pauses"),
        tuple(
            f"tests/chat/test_{what}.py" for what in ("failed_records", "pauses", "relay", "relay_poison", "delivery")
        ),
    ),
    Target(
        _parts("chat_service", "conversation pending message_work dialect message_handler in_flight answers"),
        (
            *(f"tests/chat/test_{what}.py" for what in ("connection", "conversation", "conversation_v2")),
            *(f"tests/chat/test_{what}.py" for what in ("dialect", "answers", "ends", "hours", "in_flight")),
        ),
    ),
    Target(
        _parts("permits", "memory pool arguments base memory_queue memory_permit memory_positions")
        + _parts("permits", "memory_request observer permit_block"),
        (
            *(
                f"tests/permits/test_{what}.py"
                for what in ("arguments", "memory_queue", "memory_permit", "memory_positions", "memory_request")
            ),
            "tests/permits/test_misuse.py",
            *(*_CONTRACT, "-k", "memory or not redis"),
        ),
    ),
    Target(
        _parts("chat_service.outbox", "disposal files outbox queue reader records recovery")
        + _parts("chat_service.outbox", "search segment_reader segments spool writer"),
        (
            *(
                f"tests/chat/outbox/test_{what}.py"
                for what in ("outbox", "queue", "records", "segments", "faults", "search")
            ),
            *("-k", "not killed and not backlog_takes_little_memory"),  # which take long, in other processes
        ),
    ),
    Target(
        _parts("history_service", "ingest api.access"),
        (
            *("tests/history/test_ingest.py", "tests/contract/test_ingest_at_once.py", "-k", "not mongo and not s3"),
            *(f"tests/history/api/test_{what}.py" for what in ("exchanges", "access", "context", "messages")),
        ),
    ),
    Target(
        _parts("permits.redis", "calls lease pending requests reusable_timeout wait_deadlines"),
        (
            *(f"tests/permits/test_{what}.py" for what in ("calls", "lease", "pending", "requests", "wait_deadlines")),
            "tests/permits/test_reusable_timeout.py",
        ),
    ),
    Target(("permits.redis.replies",), ("tests/permits/test_replies.py",)),
    Target(
        ("permits.redis.operator",),
        (
            *(f"tests/permits/test_{what}.py" for what in ("operator", "capacity", "clients")),
            *("-k", "not test_clients or no_client"),
        ),
    ),
    Target(
        ("permits.redis.store",),
        tuple(f"tests/permits/test_{what}.py" for what in ("store_calls", "drift", "lost_notices", "server_identity")),
    ),
    Target(
        _parts("permits.redis", "dispatch grant_listener session throughput"),
        (
            *(f"tests/permits/test_{what}.py" for what in ("session", "store_calls", "drift", "lost_notices")),
            *(
                f"tests/permits/test_{what}.py"
                for what in ("dispatch", "grant_listener", "hand_edits", "misuse", "redis_pool", "throughput")
            ),
            *("tests/permits/test_store_faults.py", *_CONTRACT, "-k", _ON_VALKEY),
        ),
    ),
    Target(
        _parts("permits.redis", "open_pool pool"),
        (
            *(
                f"tests/permits/test_{what}.py"
                for what in ("arguments", "misuse", "namespaces", "open_pool", "store_layout")
            ),
            *("tests/permits/test_redis_pool_answers.py", "tests/permits/test_clients.py"),
            *(*_CONTRACT, "-k", f"{_ON_VALKEY} and not test_clients or no_client"),
        ),
    ),
    Target(
        _parts("permits.redis", "channel clients"),
        (
            *(f"tests/permits/test_{what}.py" for what in ("channel", "store_calls", "misuse", "redis_pool")),
            *("tests/permits/test_clients.py", "-k", f"{_ON_VALKEY} and not cluster and not sentinel"),
        ),
    ),
    Target(_parts("permits", "sync call_future sync_worker"), ("tests/permits/test_sync.py",)),
    Target(
        _parts("permits.lua", "pool operate records pods declare renew enter leave set holdings peek show state"),
        (
            *(f"tests/permits/test_{what}.py" for what in ("capacity", "drift", "hand_edits", "kept_places")),
            *(f"tests/permits/test_{what}.py" for what in ("lost_notices", "operator", "redis_pool", "repair")),
            *(
                f"tests/permits/test_{what}.py"
                for what in ("scripts", "server_identity", "state_machine", "store_layout")
            ),
            *(*_CONTRACT, "-k", f"{_ON_VALKEY} and not wheel"),
        ),
    ),
    Target(
        _parts("chat_service", "admission zones"),
        tuple(f"tests/chat/test_{what}.py" for what in ("admission", "zones", "access")),
    ),
    Target(
        _parts("chat_service", "connect connection connections denials"),
        tuple(f"tests/chat/test_{what}.py" for what in ("connect", "denials", "early_data")),
    ),
    Target(
        ("chat_client.outgoing", "chat_client.retry"),
        tuple(f"tests/client/test_{what}.py" for what in ("outgoing", "connection", "retry")),
    ),
)


def path_of(module: str) -> Path:
    """Return where a module is, without importing it."""
    package, *names = module.split(".")
    spec = importlib.machinery.PathFinder.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    suffix = ".lua" if names[:1] == ["lua"] else ".py"
    return Path(spec.submodule_search_locations[0]).joinpath(*names).with_suffix(suffix)
