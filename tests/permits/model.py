"""What must hold in a pool at every moment, judged by who truly holds permits."""

from collections import Counter
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from permits.redis.channel import Reply, Word
from permits.redis.requests import AcquireRequest
from permits.redis.scripts import CallStatus, Code
from tests.permits.virtual import Clock, Flight, VirtualPod, VirtualStore

SERVING = ("operate", "renew", "enter", "set", "leave")
"""The scripts that leave nobody in line who could be served, or say that there is more to do."""
MORE = {"operate": 2, "renew": 5, "enter": 6, "set": 2, "leave": 1}
"""Where in their replies they say that."""


def _texts(fields: dict[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in fields.items()}


def place_of(id_: str) -> str:
    """Return the name of the place that an id names; "" for none."""
    return id_.partition(".")[2]


def _counts(fields: dict[bytes, bytes]) -> Counter[str]:
    counts = Counter({name: int(count) for name, count in _texts(fields).items()})
    assert all(count > 0 for count in counts.values())
    return counts


@dataclass(frozen=True)
class Waiter:
    """Somebody in line, as the store has it."""

    ticket: int
    pod: str
    until: int
    limit: int
    client: str


@dataclass(frozen=True)
class Place:
    """A place to which somebody may come back, as the store has it."""

    ticket: int
    until: int
    since: int
    id: str


class Image:
    """All keys of a pool at one moment."""

    def __init__(self, values: list[Any]) -> None:
        pool, pods, leases, permits, clients, line, waiters, clients_waiting, pods_waiting, pods_held = values[:10]
        places, places_until = values[-2:]
        self.pool = _texts(pool)
        self.pods = _texts(pods)
        self.leases = {pod.decode(): int(end) for pod, end in leases}
        self.permits: dict[str, tuple[int, str, str]] = {}
        for id_, (ticket, pod, client) in ((id_, note.split(" ", 2)) for id_, note in _texts(permits).items()):
            self.permits[id_] = (int(ticket), pod, client)
        self.waiters: dict[str, Waiter] = {}
        for id_, words in ((id_, note.split(" ", 5)) for id_, note in _texts(waiters).items()):
            self.waiters[id_] = Waiter(int(words[0]), words[1], int(words[3]), int(words[4]), words[5])
        self.places: dict[str, Place] = {}
        for name, (ticket, until, since, id_) in ((name, note.split(" ")) for name, note in _texts(places).items()):
            self.places[name] = Place(int(ticket), int(until), int(since), id_)
        self.places_until = {name.decode(): int(until) for name, until in places_until}
        self.line = {id_.decode(): int(ticket) for id_, ticket in line}
        self.clients, self.clients_waiting = _counts(clients), _counts(clients_waiting)
        self.pods_waiting, self.pods_held = _counts(pods_waiting), _counts(pods_held)

    def number(self, field: str) -> int:
        """Return one of the numbers of the pool."""
        return int(self.pool.get(field, 0))

    def epoch(self) -> int:
        """Return the number of the epoch; 0: there is none."""
        return int(self.pool.get("epoch", "0").partition("-")[0])

    def pool_now(self, server_ms: int) -> int:
        """Return pool time, when the server's clock says `server_ms`."""
        return self.number("clock") + max(0, min(server_ms - self.number("seen"), self.number("step")))

    def learning(self, server_ms: int) -> bool:
        """Say whether nothing new may be granted."""
        return self.pool_now(server_ms) < self.number("learning_until")

    def whole(self, incarnation: str) -> bool:
        """Say whether a pod is in, and has declared all that it has to declare."""
        return self.pods.get(incarnation, "").endswith(" 0")

    def sweeps(self) -> bool:
        """Say whether records of pods that are gone may still be there."""
        return self.pool.get("sweep", "").startswith("h") or "sweep_again" in self.pool

    def pod_of(self, id_: str) -> str | None:
        """Return the incarnation that holds or waits by it."""
        if id_ in self.permits:
            return self.permits[id_][1]
        return self.waiters[id_].pod if id_ in self.waiters else None

    def ticket_of(self, id_: str) -> int:
        """Return the ticket of a permit or waiter."""
        return self.permits[id_][0] if id_ in self.permits else self.waiters[id_].ticket

    def client_of(self, id_: str) -> str:
        """Return whose it is."""
        return self.permits[id_][2] if id_ in self.permits else self.waiters[id_].client

    def check(self) -> None:
        """Check what `lua/pool.lua` says of the counts and of who may stand in them."""
        held, waiting = self.permits.values(), self.waiters.values()
        assert self.clients == Counter(client for _, _, client in held)
        assert self.pods_held == Counter(pod for _, pod, _ in held)
        assert self.clients_waiting == Counter(waiter.client for waiter in waiting)
        assert self.pods_waiting == Counter(waiter.pod for waiter in waiting)
        assert self.line == {id_: waiter.ticket for id_, waiter in self.waiters.items()}
        assert not self.line.keys() & self.permits.keys()
        assert self.number("held") == len(held)
        assert "damaged" not in self.pool
        assert self.pods.keys() == self.leases.keys()
        alive = {*(pod for _, pod, _ in held), *(waiter.pod for waiter in waiting)}
        assert alive <= self.pods.keys() or self.sweeps()
        tickets = [*(ticket for ticket, _, _ in held), *self.line.values()]
        assert max(tickets, default=0) <= self.number("tickets")
        assert self.number("high_water") >= len(held) or not self.pool
        assert self.places_until == {name: place.until for name, place in self.places.items()}
        assert not self.permits.keys() & {place.id for place in self.places.values()}
        for id_ in self.line:
            place = self.places.get(place_of(id_))
            assert place is None or place.id != id_ or place.ticket == self.line[id_]


EMPTY = Image([{}, {}, [], {}, {}, [], {}, {}, {}, {}, set(), {}, {}, []])


class World:
    """A store, its pods, the network between them, and the truth about who holds what.

    Attributes:
        pods: those that live.
        past: those that have ended; requests of theirs may still be on their way.
        image: what is stored, as the last script left it.
        executed: requests that may arrive once more.
    """

    def __init__(self, store: VirtualStore, clock: Clock, per_client: int) -> None:
        self.store = store
        self.clock = clock
        self.per_client = per_client
        self.pods: list[VirtualPod] = []
        self.past: list[VirtualPod] = []
        self.image = EMPTY
        self.executed: list[Flight] = []
        self._held: set[str] = set()
        self._asked: dict[str, AcquireRequest] = {}
        self._ceilings: dict[str, int] = {}
        self._legacy = 0
        self._tickets: dict[str, int] = {}
        self._generations: dict[str, int] = {}
        self._last_ticket = 0
        self._clock_went_back = False
        self._newest_epoch = 0
        self._edited: str | None = None
        self._unheard: dict[str, int] = {}
        self._looked_at = 0

    def everybody(self) -> list[VirtualPod]:
        """Return all pods that ever were."""
        return [*self.past, *self.pods]

    def held(self) -> set[str]:
        """Return the ids of all permits that somebody may use now."""
        return {permit.id for pod in self.everybody() if not pod.gone for permit in pod.held()}

    def learning(self) -> bool:
        """Say whether the store has lost its memory and grants nothing new."""
        return not self._remembers() or self.image.learning(self.store.now())

    def settle(self, rounds: int | None = None) -> None:
        """Let everything happen that can happen now; or only as much as happens in so many times to and fro."""
        for _ in range(rounds) if rounds is not None else repeat(None):
            for pod in self.everybody():
                pod.settle()
                pod.check_places()
            self.look()
            if not self._carry():
                break

    def pass_time(self, milliseconds: int) -> None:
        """Let time pass."""
        self.clock.now += milliseconds
        self.settle()

    def jump(self, milliseconds: int) -> None:
        """Set the server's clock."""
        self._clock_went_back |= milliseconds < 0
        self.store.skew += milliseconds

    def forget(self) -> None:
        """Lose the data of the store."""
        self._lose_image()
        self.store.forget()

    def edit(self, key: str, field: str | None = None) -> None:
        """Delete a field, a member or a whole key by hand. Until a script notices, what is stored is not looked at."""
        if self._edited is None and self.store.edit(key, field):
            self._edited = self.image.pool.get("epoch")
            self._lose_image()

    def restart(self, data: dict[str, bytes]) -> None:
        """Put another server in its place, with some data; that breaks all connections."""
        self._lose_image()
        self.store.restart(data)
        self._break_connections()

    def fail_back(self, data: dict[str, bytes], run: int) -> None:
        """Put a server in its place that was the store before, was not restarted, and has the data that it had then."""
        self._lose_image()
        self.store.restart(data, run)
        self._break_connections()

    def _break_connections(self) -> None:
        self.executed.clear()
        for pod in self.everybody():
            pod.way.cut()
            pod.way.flights.clear()

    def _lose_image(self) -> None:
        """Remember how many permits there are that a store without memory cannot know of."""
        self.clock.now += 1
        self._legacy = max(self._legacy, len(self.held() | self.image.permits.keys()))
        self.image = EMPTY

    def _carry(self) -> bool:
        busy = False
        for pod in self.everybody():
            way = pod.way
            for flight in list(way.flights):
                if flight.replies is None and not flight.orphaned and not way.holds_requests:
                    self.arrive(flight)
                    busy = True
                if flight.replies is not None and (flight.orphaned or not way.holds_replies):
                    way.flights.remove(flight)
                    busy = True
                    if not flight.orphaned:
                        flight.answer.set_result(flight.replies)
            if way.notices and not way.holds_notices:
                for notice in way.notices:
                    pod.hear(notice)
                if not pod.paused:
                    way.notices.clear()
                    busy = True
        return busy

    def ask_as(self, pod: VirtualPod, id_: str) -> None:
        """Let a pod ask and release under the id of another one, as a process may that was forked from it."""
        own = next((name for name in self.image.pods if name.startswith(f"{pod.name}.")), None)
        owner = self.image.pod_of(id_)
        if own is None or owner in (None, own):
            return
        generation = max(int(self.image.pods[own].partition(" ")[0]), self._generations.get(own, 0))
        words: tuple[Word, ...] = ("release", id_, "leave", id_, "acquire", id_, "d", 500)
        before, epoch = self.image, self.image.pool["epoch"]
        reply = self.run("operate", own, generation, pod.lease_ms, epoch, 0, self.per_client, 5, *words)
        if self.image.pod_of(id_) == owner:
            assert CallStatus(reply[0]) is not CallStatus.DONE or set(reply[3::3]) == {Code.NOWHERE}
        elif id_ in before.permits and before.pool["epoch"] == self.image.pool["epoch"]:
            assert owner not in self.image.pods, "another pod has given it back"

    def arrive(self, flight: Flight) -> None:
        """Let the store carry out what is under way."""
        flight.replies = self.repeat(flight)
        if "enter" not in flight.scripts():
            self.executed = [*self.executed[-9:], flight]

    def repeat(self, flight: Flight) -> list[Reply]:
        """Let the store carry out what it may have carried out before."""
        argvs = [argv for _, argv in flight.commands]
        return [self.run(script, *argv) for script, argv in zip(flight.scripts(), argvs, strict=True)]

    def run(self, script: str, *argv: Word) -> Reply:
        """Run a script, and compare what was before with what is then."""
        before = self.image
        reply, values, notices = self.store.execute(script, *argv)
        after = Image(values)
        for notice in notices:
            for pod in self.everybody():
                if notice.startswith(f"{pod.name}."):
                    pod.way.notices.append(notice)
        if self._edited is not None and after.pool.get("epoch") in (self._edited, None):
            self._note_grants(EMPTY, after)
            return reply
        self._edited = None
        self.image = after
        after.check()
        self._newest_epoch = max(self._newest_epoch, after.epoch())
        if before.pool.get("epoch") == after.pool.get("epoch"):
            self._check_step(before, after, script, argv)
        if script in ("operate", "renew", "declare"):
            self._check_generation(before, str(argv[0]), int(argv[1]), CallStatus(reply[0]))
        if script == "enter" and CallStatus(reply[0]) is CallStatus.DONE:
            assert argv[3] not in after.pods
        if script in SERVING and CallStatus(reply[0]) is CallStatus.DONE and not reply[MORE[script]]:
            self._check_line_served(after)
        self._note_grants(before, after)
        return reply

    def _check_step(self, before: Image, after: Image, script: str, argv: tuple[Word, ...]) -> None:
        for field in ("tickets", "high_water", "clock"):
            assert before.number(field) <= after.number(field), field
        new = after.permits.keys() - before.permits.keys()
        arrived = sorted((new | after.line.keys()) - before.line.keys(), key=after.ticket_of)
        if script == "declare":
            assert not arrived or after.learning(self.store.now())
        else:
            self._check_grants(before, after, new)
            for id_ in arrived:
                self._check_arrival(before, after, id_)
        self._check_dropped(before, after, set(map(str, argv)))
        self._check_kept(before, after, {place_of(id_) for id_ in new})

    def _check_arrival(self, before: Image, after: Image, id_: str) -> None:
        ticket, client = after.ticket_of(id_), after.client_of(id_)
        place = before.places.get(place_of(id_))
        if place is not None and place.until > before.pool_now(self.store.now()):
            assert ticket == place.ticket, "a place was not kept"
        elif self._remembers():  # before a pod says so, a store that has gone back does not know the other's tickets
            assert ticket > self._last_ticket or self._clock_went_back
            self._last_ticket = ticket
        assert after.clients[client] + after.clients_waiting[client] <= self.per_client

    def _check_kept(self, before: Image, after: Image, granted: set[str]) -> None:
        """A place is kept until its time is over or somebody has a permit by it."""
        for name in before.places.keys() - after.places.keys() - granted:
            assert before.places[name].until <= after.pool_now(self.store.now())

    def _check_grants(self, before: Image, after: Image, new: set[str]) -> None:
        now = self.store.now()
        if not new:
            return
        assert len(after.permits) <= after.number("capacity")
        handed = [before.line[id_] for id_ in new if id_ in before.line]
        still = [ticket for id_, ticket in before.line.items() if id_ in after.line]
        assert max(handed, default=0) <= min(still, default=1 << 62)
        assert not after.learning(now)
        if new - before.line.keys():
            assert not before.line.keys() & after.line.keys(), "somebody overtook the line"

    def _check_dropped(self, before: Image, after: Image, named: set[str]) -> None:
        """Nobody loses a place in line who did not give it up, while their pod lives and their time is not over."""
        asks = {ask.id: ask for pod in self.everybody() for ask in pod.asks}
        slack = before.number("step") if self._clock_went_back else 0
        asked_for = {place_of(word) for word in named} - {""}  # a later request takes a place over
        for id_, waiter in before.waiters.items():
            if waiter.limit and after.clients[waiter.client] >= waiter.limit:
                continue
            if place_of(id_) in asked_for:
                continue
            if id_ not in after.line and id_ not in after.permits and waiter.pod in after.pods and id_ not in named:
                assert ((asks[id_].deadline or 0) * 1000) <= self.clock.now + slack + 1

    def _check_generation(self, before: Image, pod: str, generation: int, status: CallStatus) -> None:
        """What was overtaken by a later connection of its pod changes nothing."""
        if generation < self._generations.get(pod, 0) and before.pods.get(pod):
            assert status in (CallStatus.STALE, CallStatus.GONE, CallStatus.FORGOTTEN)
        elif status is CallStatus.DONE:
            self._generations[pod] = max(self._generations.get(pod, 0), generation)

    def _check_line_served(self, after: Image) -> None:
        now = self.store.now()
        if len(after.permits) < after.number("capacity") and not after.learning(now):
            assert not [waiter for waiter in after.waiters.values() if waiter.until > after.pool_now(now)]

    def _note_grants(self, before: Image, after: Image) -> None:
        capacity = after.number("capacity")
        for id_ in after.permits.keys() - before.permits.keys():
            self._ceilings.setdefault(id_, capacity)
        for id_ in self._ceilings.keys() - self._held:
            self._ceilings[id_] = max(self._ceilings[id_], capacity)
        if self._remembers() and not after.learning(self.store.now()):
            self._legacy = 0

    def _remembers(self) -> bool:
        return self.image.pool.get("run") == f"run{self.store.run}" and self.image.epoch() == self._newest_epoch

    def _check_places(self) -> None:
        """Whoever stands in line keeps the ticket, through whatever happens to the store."""
        for ask in (ask for pod in self.everybody() for ask in pod.asks):
            if ask.waiting and (ask.deadline or 0) * 1000 > self.clock.now:
                assert self._tickets.setdefault(ask.id, ask.ticket) == ask.ticket or self._clock_went_back

    def _check_heard(self) -> None:
        """While its way is open, a pod hears with its next heartbeat which of its waiters were handed a permit.

        A heartbeat may have to wait until the pod tries again after a failure, for half a beat.
        """
        unheard: dict[str, int] = {}
        for pod in self.pods:
            if pod.gone or pod.paused or not pod.way.is_open or not self._remembers():
                continue
            for ask in pod.asks:
                if ask.waiting and ask.id in self.image.permits:
                    since = unheard[ask.id] = self._unheard.get(ask.id, self.clock.now)
                    waited = self._looked_at - since
                    assert waited <= pod.lease_ms / 8 * 1.5, f"for {waited} ms a waiter has not heard of its permit"
        self._unheard, self._looked_at = unheard, self.clock.now

    def look(self) -> None:
        """Check the truth: there are never more permits than the capacity, and the store knows each of them."""
        self._check_places()
        self._check_heard()
        held = self.held()
        self._asked = {ask.id: ask for pod in self.everybody() for ask in pod.asks}
        self._held &= held
        for id_ in held - self._held:
            assert len(self._held) < max(self._ceilings[id_], self._legacy), "more permits than the capacity"
            self._held.add(id_)
        clients = Counter(self._asked[id_].client_id for id_ in held)
        assert max(clients.values(), default=0) <= self.per_client, "more permits than the limit of a client"
        if not self._remembers():
            return
        for pod in self.everybody():
            for permit in [] if pod.gone else pod.held():
                incarnation = permit.lease.incarnation
                if not self.image.learning(self.store.now()) or self.image.whole(incarnation):
                    assert self.image.permits.get(permit.id, (0, ""))[1] == incarnation, "the store does not know it"
