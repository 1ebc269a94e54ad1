"""A cluster of real Valkeys on loopback: three primaries, and a replica of the first."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from devtools.ports import free_port
from devtools.valkey import ValkeyServer, run_valkey

SLOTS = 16384
SECONDS = 60.0


@dataclass(frozen=True)
class Cluster:
    """Running servers.

    Attributes:
        primaries: each with a third of the slots, in order.
        replica: of the first primary.
    """

    primaries: tuple[ValkeyServer, ...]
    replica: ValkeyServer

    @property
    def nodes(self) -> tuple[ValkeyServer, ...]:
        """All of them."""
        return (*self.primaries, self.replica)

    def move(self, slot: int, source: ValkeyServer, target: ValkeyServer) -> None:
        """Move a slot with its keys, as a rebalancing of the cluster does."""
        ids = {node.port: ask("CLUSTER", "MYID", url=node.url) for node in self.nodes}
        ask("CLUSTER", "SETSLOT", str(slot), "IMPORTING", ids[source.port], url=target.url)
        ask("CLUSTER", "SETSLOT", str(slot), "MIGRATING", ids[target.port], url=source.url)
        with Redis.from_url(source.url) as client:
            keys = client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1000)
            client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        for node in (target, source, *self.primaries):
            ask("CLUSTER", "SETSLOT", str(slot), "NODE", ids[target.port], url=node.url)


def ask(*words: str, url: str) -> str:
    """Send a command to one server; nothing for an empty list."""
    with Redis.from_url(url) as client:
        reply = client.execute_command(*words)
    return reply.decode() if isinstance(reply, bytes) else str(reply or "")


@contextmanager
def run_cluster(folder: Path) -> Iterator[Cluster]:
    """Run one for the length of a `with` block."""
    with ExitStack() as stack:
        nodes = []
        for number in range(4):
            place = folder / str(number)
            place.mkdir()
            options = ["--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-node-timeout", "1500"]
            nodes.append(stack.enter_context(run_valkey(place, options=options)))
        *primaries, replica = nodes
        for number, node in enumerate(primaries):
            first, last = SLOTS * number // 3, SLOTS * (number + 1) // 3 - 1
            ask("CLUSTER", "ADDSLOTSRANGE", str(first), str(last), url=node.url)
        for node in nodes[1:]:
            with Redis.from_url(node.url) as client:
                bus = client.config_get("cluster-port")["cluster-port"]
            ask("CLUSTER", "MEET", "127.0.0.1", str(node.port), bus, url=nodes[0].url)
        _until(lambda: all(_knows(node, len(nodes)) for node in nodes), "the nodes do not know each other")
        ask("CLUSTER", "REPLICATE", ask("CLUSTER", "MYID", url=primaries[0].url), url=replica.url)
        _until(lambda: "master_link_status:up" in _info(replica), "the replica does not follow")
        _until(lambda: all("cluster_state:ok" in ask("CLUSTER", "INFO", url=node.url) for node in nodes), "not ready")
        yield Cluster(tuple(primaries), replica)


def _knows(node: ValkeyServer, count: int) -> bool:
    said = ask("CLUSTER", "NODES", url=node.url)
    return said.count(" connected") == count and "handshake" not in said


def _info(node: ValkeyServer) -> str:
    with Redis.from_url(node.url) as client:
        return "\n".join(f"{key}:{value}" for key, value in client.info("replication").items())


def _until(reached: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + SECONDS
    while not reached():
        if time.monotonic() > end:
            raise AssertionError(what)
        time.sleep(0.05)
