"""What can go wrong. Each fault ends when its cause is mended; what follows from it may take longer."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from tests.chaos import terms
from tests.chaos.cluster import Cluster, Stuck, Worker
from tests.chaos.edits import EDITS
from tests.chaos.judge import Return

GRANTS_MEANWHILE = 60
"""By so many grants a fault is prolonged, so that it meets a pool in use."""
EDITS_EACH = 2
"""By so many changes of its keys a pool is hit in one fault; each costs a time of learning."""

Fault = Callable[[Cluster], Awaitable[None]]


async def kill(cluster: Cluster) -> None:
    """Kill a worker that holds permits; a new one comes."""
    await _kill(cluster, cluster.chance.choice(cluster.workers), successor=True)


async def _kill(cluster: Cluster, worker: Worker, *, successor: bool = False) -> None:
    async def holds() -> bool:
        return bool(await _held(cluster, worker))

    await cluster.reach(holds, f"{worker.name} holds permits")
    cluster.fault(f"{worker.name} is killed")
    cluster.kill(worker)
    if successor:
        cluster.start_worker()
    held, looked = 0, time.monotonic_ns()

    async def reaped() -> bool:
        nonlocal held, looked
        now_held = await _held(cluster, worker)
        if now_held is not None and now_held > held:  # its waiters, too, are handed permits at first
            held, looked = now_held, time.monotonic_ns()
        return now_held is None

    await cluster.reach(reaped, f"{worker.name} is reaped")
    cluster.record.returns.append(Return(worker.name, cluster.record.killed[worker.name], held, looked))


async def pause(cluster: Cluster) -> None:
    """Stop workers for longer than their lease, until others have what they held."""
    workers = cluster.some(most=2)
    cluster.fault(f"{_names(workers)} stopped")
    since = time.monotonic_ns()
    for worker in workers:
        worker.process.send_signal(signal.SIGSTOP)
    await _until_reaped(cluster, workers)
    for worker in workers:
        worker.process.send_signal(signal.SIGCONT)
        cluster.record.paused.append((worker.name, since, time.monotonic_ns()))
    cluster.fault(f"{_names(workers)} continued")


async def freeze(cluster: Cluster) -> None:
    """Stop the whole machine, as a hypervisor may: the store and all workers, for up to two leases, more than once."""
    for _ in range(3):
        cluster.fault("the machine stops")
        since = time.monotonic_ns()
        for worker in cluster.workers:
            worker.process.send_signal(signal.SIGSTOP)
        cluster.store.send_signal(signal.SIGSTOP)
        await asyncio.sleep(cluster.chance.uniform(0.3, 2) * terms.LEASE_SECONDS)  # nothing moves: no condition either
        cluster.store.send_signal(signal.SIGCONT)
        for worker in cluster.chance.sample(cluster.workers, len(cluster.workers)):
            worker.process.send_signal(signal.SIGCONT)
            cluster.record.paused.append((worker.name, since, time.monotonic_ns()))
        cluster.fault("the machine goes on")
        await cluster.granted(GRANTS_MEANWHILE, time.monotonic_ns())


async def restart(cluster: Cluster) -> None:
    """Start the store again, on its data."""
    await _restart(cluster)


async def restart_empty(cluster: Cluster) -> None:
    """Start the store again, without its data."""
    await _restart(cluster, forgets=True)


async def _restart(cluster: Cluster, *, forgets: bool = False) -> None:
    kills, waits = cluster.chance.random() < 0.5, cluster.chance.random() < 0.5
    cluster.fault(f"the store is {'killed' if kills else 'stopped'}{' and loses its data' if forgets else ''}")
    cluster.store.stop(kill=kills)
    if forgets:
        cluster.store.forget()
    if waits:
        await _until_refused(cluster, cluster.workers, time.monotonic_ns())
    cluster.store.start()
    await cluster.redis.connection_pool.disconnect()  # those of the test itself
    cluster.fault("the store is started")


async def flush(cluster: Cluster) -> None:
    """Make the store forget everything, the scripts too."""
    cluster.fault("FLUSHALL")
    await cluster.redis.flushall()
    await cluster.redis.script_flush()


async def flush_unheard(cluster: Cluster) -> None:
    """Make the store forget everything while some hold permits and cannot say so, in time to declare them or not."""
    workers = cluster.some(most=2)
    since = time.monotonic_ns()
    if cluster.chance.random() < 0.5:
        cluster.fault(f"FLUSHALL while {_names(workers)} stopped")
        for worker in workers:
            worker.process.send_signal(signal.SIGSTOP)
        await cluster.redis.flushall()
        await cluster.granted(GRANTS_MEANWHILE, time.monotonic_ns())
        for worker in workers:
            worker.process.send_signal(signal.SIGCONT)
            cluster.record.paused.append((worker.name, since, time.monotonic_ns()))
    else:
        cluster.fault(f"FLUSHALL while {_names(workers)} cut off")
        for worker in workers:
            worker.line.stall()
        await cluster.redis.flushall()
        await _until_refused(cluster, workers, since)
        for worker in workers:
            worker.line.resume()
    cluster.fault(f"{_names(workers)} back")


async def flush_and_cut(cluster: Cluster) -> None:
    """Make the store forget everything, and break connections while that is noticed and declared."""
    for _ in range(2):
        cluster.fault("FLUSHALL, and connections broken")
        await cluster.redis.flushall()
        for _ in range(cluster.chance.randint(1, 4)):
            for worker in cluster.some(most=terms.WORKERS):
                worker.line.cut()
            await asyncio.sleep(
                cluster.chance.uniform(0, 0.2) * terms.LEASE_SECONDS
            )  # at any moment of the declarations
        await cluster.granted(GRANTS_MEANWHILE, time.monotonic_ns())


async def slow_beats(cluster: Cluster) -> None:
    """Hold up all packets again and again, for nearly as long as a heartbeat may take; kill a worker meanwhile."""
    workers, victim = list(cluster.workers), cluster.chance.choice(cluster.workers)
    cluster.fault("heartbeats become slow")
    for turn in range(12):
        for worker in workers:
            worker.line.stall()
        await asyncio.sleep(0.2 * terms.LEASE_SECONDS)
        for worker in workers:
            worker.line.resume()
        if turn == 1:
            cluster.fault(f"{victim.name} is killed")
            cluster.kill(victim)
            workers.remove(victim)
            cluster.start_worker()
        await asyncio.sleep(0.02 * terms.LEASE_SECONDS)

    async def reaped() -> bool:
        return await _held(cluster, victim) is None

    if not await reaped():
        raise Stuck(f"{victim.name} is not reaped after two leases of slow heartbeats")
    cluster.fault("heartbeats are prompt")


async def crowd(cluster: Cluster) -> None:
    """Let so many wait that a script cannot look at all of them; raise the capacity for them, and kill their worker."""
    cluster.fault("a crowd comes")
    worker = cluster.start_worker(visitors=terms.CROWD)

    async def waits() -> bool:
        return sum(pod.waiting for pod in await cluster.pods(worker)) > terms.CROWD / 2

    await cluster.reach(waits, "the crowd waits")
    for permits in (10 * terms.CAPACITY, terms.CAPACITY):
        cluster.fault(f"the capacity becomes {permits}")
        await cluster.set_capacity(permits)
        await cluster.granted(GRANTS_MEANWHILE, time.monotonic_ns())
    await cluster.reach(waits, "the crowd waits")
    await _kill(cluster, worker)


async def stall(cluster: Cluster) -> None:
    """Hold up all packets of some workers for longer than a lease, until others have what they held."""
    workers = cluster.some()
    cluster.fault(f"{_names(workers)} cut off")
    for worker in workers:
        worker.line.stall()
    await _until_reaped(cluster, workers)
    for worker in workers:
        worker.line.resume()
    cluster.fault(f"{_names(workers)} no longer cut off")


async def stall_shortly(cluster: Cluster) -> None:
    """Hold up all packets of some workers until these refuse whoever asks; their leases go on."""
    workers = cluster.some(most=terms.WORKERS)
    cluster.fault(f"{_names(workers)} cut off shortly")
    since = time.monotonic_ns()
    for worker in workers:
        worker.line.stall()
    await _until_refused(cluster, workers, since)
    for worker in workers:
        worker.line.resume()
    cluster.fault(f"{_names(workers)} no longer cut off")


async def cut(cluster: Cluster) -> None:
    """Break connections, several times."""
    for _ in range(cluster.chance.randint(2, 5)):
        workers = cluster.some(most=terms.WORKERS)
        cluster.fault(f"connections of {_names(workers)} broken")
        since = time.monotonic_ns()
        for worker in workers:
            worker.line.cut()
        await cluster.granted(GRANTS_MEANWHILE, since)


async def deliver_late(cluster: Cluster) -> None:
    """Break connections whose last requests arrive when the new ones are in use."""
    workers = cluster.some(most=terms.WORKERS)
    cluster.fault(f"connections of {_names(workers)} broken, their requests on the way")
    for worker in workers:
        worker.line.hold_back()
    await cluster.until(lambda: all(worker.line.kept() for worker in workers), "requests are on their way")
    since = time.monotonic_ns()
    for worker in workers:
        worker.line.hang_up()
    await cluster.granted(3 * GRANTS_MEANWHILE, since)  # what is delivered late was asked again, granted and given back
    for worker in workers:
        worker.line.resume()
    cluster.fault(f"late requests of {_names(workers)} arrive")


async def change_capacity(cluster: Cluster) -> None:
    """Change the capacity down, up, and back to what it was."""
    for permits in (cluster.chance.randint(10, 40), cluster.chance.randint(55, 90), terms.CAPACITY):
        cluster.fault(f"the capacity becomes {permits}")
        await cluster.set_capacity(permits)
        await cluster.granted(GRANTS_MEANWHILE, time.monotonic_ns())


async def fork(cluster: Cluster) -> None:
    """Let workers fork while they hold permits. The pool is of no use in the child, which then opens one of its own."""
    for worker in cluster.some(most=2):

        async def holds(worker: Worker = worker) -> bool:
            return bool(await _held(cluster, worker))

        await cluster.reach(holds, f"{worker.name} holds permits")
        cluster.fault(f"{worker.name} forks")
        child = cluster.adopt_child(worker)
        worker.process.send_signal(signal.SIGUSR2)
        await cluster.until(lambda child=child: "bye" in child.said, f"{child.worker} has come and gone")  # type: ignore[misc]
        if "disowned" not in child.said:
            raise Stuck(f"{child.worker} could use what {worker.name} had opened")
        if not child.granted:
            raise Stuck(f"{child.worker} was granted nothing by a pool of its own")
        cluster.fault(f"{child.worker} is gone")


async def mix_leases(cluster: Cluster) -> None:
    """Let pods with a shorter and a longer lease come in, as in a rolling update, and kill the one with the shorter."""
    cluster.fault("pods with other leases come in")
    since = time.monotonic_ns()
    short, long = (cluster.start_worker(terms.LEASE_SECONDS * share) for share in (0.5, 2))
    await cluster.until(lambda: bool(short.story.grants_since(since) and long.story.grants_since(since)), "both are in")
    await _kill(cluster, short)
    cluster.fault(f"{long.name} ends")
    await cluster.retire(long)


async def fail_back(cluster: Cluster) -> None:
    """Put another server in the place of the store, and then the first one again, which was never restarted.

    The other one is empty, or a replica of the first; the first comes back as it was, or as a replica of the other.
    """
    other = await cluster.start_other_store(replica=cluster.chance.random() < 0.5)
    back_as_replica, waits = cluster.chance.random() < 0.5, cluster.chance.random() < 0.5
    try:
        cluster.fault("another server takes over")
        since = time.monotonic_ns()
        cluster.lead(other)
        if waits:
            await cluster.granted(GRANTS_MEANWHILE, since)
        if back_as_replica:
            await cluster.follow(cluster.store, other)
        cluster.fault(f"the first server is back{', as a replica of the other' if back_as_replica else ''}")
        cluster.lead(cluster.store)
        await cluster.granted(GRANTS_MEANWHILE, time.monotonic_ns())
    finally:
        other.stop()


async def edit_by_hand(cluster: Cluster) -> None:
    """Change keys of the pool by hand, until that is noticed."""
    for name in cluster.chance.sample(list(EDITS), EDITS_EACH):
        cluster.fault(name)
        epoch = await cluster.epoch()
        await EDITS[name](cluster.redis, cluster.chance)

        async def noticed(epoch: bytes | None = epoch) -> bool:
            return await cluster.epoch() not in (None, epoch)

        await cluster.reach(noticed, f"it is noticed that {name}")
        await cluster.granted(GRANTS_MEANWHILE, time.monotonic_ns())


FAULTS: Mapping[str, Fault] = {
    "kill": kill,
    "pause": pause,
    "freeze": freeze,
    "restart": restart,
    "restart-empty": restart_empty,
    "flush": flush,
    "flush-unheard": flush_unheard,
    "flush-cut": flush_and_cut,
    "slow-beats": slow_beats,
    "crowd": crowd,
    "stall": stall,
    "short-stall": stall_shortly,
    "cut": cut,
    "late": deliver_late,
    "capacity": change_capacity,
    "fork": fork,
    "mixed-leases": mix_leases,
    "fail-back": fail_back,
    "hand-edits": edit_by_hand,
}


def _names(workers: Sequence[Worker]) -> str:
    return ", ".join(sorted(worker.name for worker in workers))


async def _held(cluster: Cluster, worker: Worker) -> int | None:
    """Return how many permits the store has for a worker; None: it does not know it any more."""
    pods = await cluster.pods(worker)
    return sum(pod.held for pod in pods) if pods else None


async def _until_reaped(cluster: Cluster, workers: Sequence[Worker]) -> None:
    """Wait until the store has taken back all of these workers' permits and others have them."""

    async def reaped() -> bool:
        return not any([await _held(cluster, worker) is not None for worker in workers])

    await cluster.reach(reaped, f"{_names(workers)} reaped")
    await cluster.granted(GRANTS_MEANWHILE, time.monotonic_ns())


async def _until_refused(cluster: Cluster, workers: Sequence[Worker], since: int) -> None:
    await cluster.until(
        lambda: all(worker.story.refused and worker.story.refused[-1] > since for worker in workers),
        f"{_names(workers)} refuse",
    )
