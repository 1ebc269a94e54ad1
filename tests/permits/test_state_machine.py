"""Any order of events, faults and jumps of clocks: never more permits than the capacity, and nothing leaks."""

import os
from collections.abc import Collection
from functools import partial

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from permits.redis import calls, throughput
from permits.redis.requests import AcquireRequest
from permits.redis.store import Terms
from tests.permits.model import World
from tests.permits.virtual import Clock, Flight, VirtualPod, VirtualStore

LEASE_MS = 1600
STEP_MS = LEASE_MS // 2 * 3 // 16
PODS = 3
CAPACITY = 2
LEASES_MS = (LEASE_MS, LEASE_MS // 2, LEASE_MS * 3 // 2)

which_pod = st.integers(0, PODS - 1)
which_client = st.sampled_from("abc")
which_wait = st.sampled_from([None, "w"])
some_steps = st.integers(0, 12)
which = st.integers(0, 9)
which_fault = st.sampled_from(["cut", "requests", "replies", "nothing"])


class PoolMachine(RuleBasedStateMachine):
    """Pods that come and go over a network and a server that both fail in every way there is."""

    def __init__(self, url: str, per_client: int) -> None:
        super().__init__()
        self.started = 0
        self.terms = [
            Terms(capacity=CAPACITY, per_client=per_client, max_waiting=5, lease_seconds=lease_ms / 1000)
            for lease_ms in LEASES_MS
        ]
        self.clock = Clock()
        self.store = VirtualStore(url, self.clock)
        self.world = World(self.store, self.clock, per_client)
        self.saved: dict[str, bytes] = {}
        self.jumped_at = -max(LEASES_MS)
        for _ in range(PODS):
            self.start_pod()
        self.wait_leases(1)

    def start_pod(self) -> None:
        self.started += 1
        self.world.pods.append(VirtualPod(self.clock, self.store.name, self.terms[self.started % len(self.terms)]))

    def retire(self, at: int) -> VirtualPod:
        pod = self.world.pods.pop(at)
        self.world.past.append(pod)
        self.start_pod()
        return pod

    @rule(pod=which_pod, client=which_client, wait_ms=st.sampled_from([0, 100, 700, 1500]), wait_id=which_wait)
    def one_asks(self, pod: int, client: str, wait_ms: int, wait_id: str | None) -> None:
        self.world.pods[pod].acquire(client, wait_ms, wait_id)

    @rule(asks=st.lists(st.tuples(which_pod, which_client, which_wait), min_size=2, max_size=5))
    def many_ask(self, asks: list[tuple[int, str, str | None]]) -> None:
        for pod, client, wait_id in asks:
            self.world.pods[pod].acquire(client, LEASE_MS - 100, wait_id)

    @rule(first=which_pod, second=which_pod, client=which_client, away_ms=st.sampled_from([0, 50, 1200, 5000]))
    def one_waits_in_vain_and_comes_back(self, first: int, second: int, client: str, away_ms: int) -> None:
        self.world.pods[first].acquire(client, 100, "w")
        self.world.pass_time(120)
        for _ in range(away_ms // 150):
            self.world.pass_time(150)
        self.world.pods[second].acquire(client, 1500, "w")

    @rule(pod=which_pod, callers=st.integers(2, 4), rounds=st.integers(1, 6), what=which_fault)
    def the_way_fails_while_some_come_and_go(self, pod: int, callers: int, rounds: int, what: str) -> None:
        one = self.world.pods[pod]
        for number in range(callers):
            one.come_and_go("abcd"[number], times=8)
        self.world.settle(rounds)
        if what == "cut":
            one.way.cut()
        one.way.hold(what)
        self.world.settle()

    @rule(pod=which_pod, callers=st.integers(2, 4), rounds=st.integers(1, 6), more=st.integers(0, 3), what=which_fault)
    def the_store_is_emptied_and_the_way_fails_while_some_come_and_go(
        self, pod: int, callers: int, rounds: int, more: int, what: str
    ) -> None:
        one = self.world.pods[pod]
        for number in range(callers):
            one.come_and_go("abcd"[number], times=8)
        self.world.settle(rounds)
        self.world.forget()
        self.world.settle(more)
        if what == "cut":
            one.way.cut()
        one.way.hold(what)
        self.world.settle()

    @rule(moments=st.lists(st.tuples(which_pod, which_client, st.booleans()), min_size=3, max_size=10))
    def all_are_busy(self, moments: list[tuple[int, str, bool]]) -> None:
        for pod, client, releases in moments:
            permits = self.world.pods[pod].held()
            if releases and permits:
                permits[0].release()
            else:
                self.world.pods[pod].acquire(client, 700)
            self.world.pass_time(10)

    @precondition(lambda self: self.world.held())
    @rule(places=st.lists(which, min_size=1, max_size=3))
    def some_release(self, places: list[int]) -> None:
        permits = [permit for pod in self.world.everybody() if not pod.gone for permit in pod.held()]
        for at in places:
            permits[at % len(permits)].release()

    @precondition(lambda self: self.asking())
    @rule(at=which)
    def one_gives_up(self, at: int) -> None:
        asking = self.asking()
        pod, ask = asking[at % len(asking)]
        pod.cancel(ask)

    def asking(self) -> list[tuple[VirtualPod, AcquireRequest]]:
        return [(pod, ask) for pod in self.world.pods for ask in pod.asking()]

    @rule(milliseconds=st.sampled_from([1, 30, 100, 200, 250, 400]))
    def time_passes(self, milliseconds: int) -> None:
        self.world.pass_time(milliseconds)

    @rule(steps=st.integers(2, 10))
    def much_time_passes(self, steps: int) -> None:
        for _ in range(steps):
            self.world.pass_time(150)

    @rule(pod=which_pod, what=st.sampled_from(["requests", "replies", "notices", "nothing", "nothing"]))
    def the_way_lets_through_all_but(self, pod: int, what: str) -> None:
        self.world.pods[pod].way.open()
        self.world.pods[pod].way.hold(what)

    @rule(pod=which_pod, up=st.booleans(), loses_notices=st.booleans())
    def the_way_is_cut(self, pod: int, up: bool, loses_notices: bool) -> None:
        way = self.world.pods[pod].way
        way.cut()
        way.open()
        way.up = up
        if loses_notices:
            way.notices.clear()

    @rule(
        pod=which_pod,
        what=st.sampled_from(["requests", "replies", "all"]),
        jump=st.booleans(),
        steps=st.integers(3, 12),
    )
    def a_pod_is_out_of_touch_while_others_ask(self, pod: int, what: str, jump: bool, steps: int) -> None:
        one = self.world.pods[pod]
        one.paused |= what == "all"
        one.way.hold(what)
        if jump:
            self.the_servers_clock_jumps(STEP_MS - 20)
        for other in self.world.pods:
            if other is not one:
                other.acquire("d", LEASE_MS - 100)
        for _ in range(steps):
            self.world.pass_time(120)

    @rule(pod=which_pod, what=st.sampled_from(["requests", "replies", "notices"]), steps=some_steps)
    def the_store_is_emptied_while_something_is_on_its_way(self, pod: int, what: str, steps: int) -> None:
        way = self.world.pods[pod].way
        way.hold(what)
        for permit in [permit for one in self.world.pods for permit in one.held()][:1]:
            permit.release()
        self.world.settle()
        self.world.forget()
        for _ in range(steps):
            self.world.pass_time(120)
        way.open()

    @precondition(lambda self: self.late())
    @rule(at=which)
    def a_late_request_arrives(self, at: int) -> None:
        late = self.late()
        self.world.arrive(late[at % len(late)])

    def late(self) -> list[Flight]:
        flights = [flight for pod in self.world.everybody() for flight in pod.way.flights]
        return [flight for flight in flights if flight.replies is None and flight.orphaned]

    @precondition(lambda self: self.world.executed)
    @rule(at=which)
    def a_request_arrives_again(self, at: int) -> None:
        self.world.repeat(self.world.executed[at % len(self.world.executed)])

    @precondition(lambda self: self.world.image.permits or self.world.image.waiters)
    @rule(at=which, pod=which_pod)
    def a_forked_child_asks_with_the_ids_of_its_parent(self, at: int, pod: int) -> None:
        ids = sorted(self.world.image.permits) or sorted(self.world.image.waiters)
        self.world.ask_as(self.world.pods[pod], ids[at % len(ids)])

    @rule(client=which_client, first=which_pod, others=st.integers(1, PODS - 1), declares=st.booleans())
    def a_client_asks_elsewhere_of_a_store_that_has_forgotten(
        self, client: str, first: int, others: int, declares: bool
    ) -> None:
        if self.world.learning():
            self.wait_leases(1)
        one = self.world.pods[first]
        one.acquire(client, 0)
        for _ in range(4):  # until all have heard of its lease: a longer one that nobody remembers is not promised
            self.world.pass_time(100)
        one.way.hold("requests")
        self.world.forget()
        for at in range(1, others + 1):
            self.world.pods[(first + at) % PODS].acquire(client, 3 * max(LEASES_MS))
        self.world.settle()
        if declares:
            one.way.open()
        self.wait_leases(2)

    @rule(what=st.sampled_from(["requests", "replies"]), wait_ms=st.sampled_from([50, 100, 180]), times=some_steps)
    def all_round_trips_take_long(self, what: str, wait_ms: int, times: int) -> None:
        for _ in range(times):
            for pod in self.world.pods:
                pod.way.hold(what)
            self.world.pass_time(wait_ms)
            for pod in self.world.pods:
                pod.way.open()
            self.world.settle()

    @rule(pod=which_pod, waiters=st.integers(2, 5), ends=st.booleans())
    def many_stand_in_line_whose_pod_hangs(self, pod: int, waiters: int, ends: bool) -> None:
        if self.world.learning():
            self.wait_leases(1)
        one = self.world.pods[pod]
        for number, other in enumerate(self.world.pods):
            if other is not one:
                other.acquire("ef"[number % 2], 0)
                other.acquire("gh"[number % 2], 0)
        self.world.settle()
        for number in range(waiters):
            one.acquire("abcde"[number], 100)
        self.world.settle()
        one.paused = True
        if ends:
            self.retire(pod).crash()
        for _ in range(4):
            self.world.pass_time(100)
        for permit in [permit for other in self.world.pods for permit in other.held()]:
            permit.release()
        self.world.settle()

    @precondition(lambda self: self.world.image.pool)
    @rule(key=st.sampled_from(["permits", "waiters", "line", "pods", "leases", "pool"]), whole=st.booleans(), at=which)
    def a_hand_deletes_something(self, key: str, whole: bool, at: int) -> None:
        image = self.world.image
        fields: dict[str, Collection[str]] = {
            "permits": image.permits,
            "waiters": image.waiters,
            "line": image.line,
            "pods": image.pods,
        }
        names = sorted(fields.get(key, ()))
        if whole or not names:
            self.world.edit(key)
        else:
            self.world.edit(key, names[at % len(names)])

    @rule(pod=which_pod)
    def a_pod_is_paused_or_goes_on(self, pod: int) -> None:
        self.world.pods[pod].paused = not self.world.pods[pod].paused

    @rule(pod=which_pod, in_good_order=st.booleans())
    def a_pod_ends(self, pod: int, in_good_order: bool) -> None:
        retired = self.retire(pod)
        if in_good_order:
            retired.leave()
        else:
            retired.crash()

    @rule(milliseconds=st.sampled_from([-100_000, -STEP_MS, -50, 50, STEP_MS - 1, STEP_MS, 900, 100_000]))
    def the_servers_clock_jumps(self, milliseconds: int) -> None:
        if milliseconds > 0:
            if self.clock.now - self.jumped_at < max(LEASES_MS):
                return
            self.jumped_at = self.clock.now
        self.world.jump(milliseconds)

    @rule(what=st.sampled_from(["emptied", "saved", "restarted with its data", "restarted without"]), again=which)
    def something_happens_to_the_store(self, what: str, again: int) -> None:
        if self.world.learning() and again > 2:
            return
        if what == "saved":
            self.saved = self.store.save()
        elif what == "emptied":
            self.world.forget()
        else:
            self.world.restart(self.saved if what.endswith("data") else {})

    @rule(with_its_data=st.booleans(), new_pod=st.booleans(), steps=st.integers(0, 30))
    def another_server_takes_over_and_the_first_comes_back(
        self, with_its_data: bool, new_pod: bool, steps: int
    ) -> None:
        first = (self.store.save(), self.store.run)
        self.world.restart(first[0] if with_its_data else {})
        for step in range(steps):
            self.world.pass_time(150)
            if step % 5 == 0:
                self.world.pods[step % PODS].acquire("abcd"[step % 4], 700)
        self.world.fail_back(*first)
        if new_pod:
            for pod in self.world.pods:
                pod.way.hold("requests")
            self.start_pod()
            newcomer = self.world.pods[-1]
            newcomer.acquire("d", 0)
            self.world.settle()
            for pod in self.world.pods:
                pod.way.open()
            self.world.pods.remove(newcomer)
            self.world.past.append(newcomer)
            newcomer.leave()
        self.world.settle()

    @rule(capacity=st.integers(1, 4), pod=which_pod, what=st.sampled_from(["capacity", "capacity", "allow", "refuse"]))
    def an_operator_sets_something(self, capacity: int, pod: int, what: str) -> None:
        for one in self.world.pods:
            self.world.run("set", "allow", one.name)
        self.world.run("set", what, capacity if what == "capacity" else self.world.pods[pod].name)

    @invariant()
    def the_truth_agrees(self) -> None:
        self.world.settle()

    def teardown(self) -> None:
        try:
            self.end_well()
        finally:
            for pod in self.world.everybody():
                pod.crash()
            self.store.close()

    def end_well(self) -> None:
        """Whatever has happened: when the faults are over, everybody gets an answer, and then the pool is empty."""
        self.start_pod()
        for pod in self.world.everybody():
            pod.paused = False
            pod.way.open()
        self.wait_leases(3)
        assert not [ask for pod in self.world.pods for ask in pod.asking()]
        for pod in self.world.everybody():
            for permit in [] if pod.gone else pod.held():
                permit.release()
        self.wait_leases(1)
        assert not self.world.image.permits
        assert not self.world.image.line
        assert self.store.keys_left() <= {"pool", "pods", "leases", "refused", "lease_lengths"}
        self.world.pods[-1].acquire("d", 0)
        self.world.settle()
        assert len(self.world.held()) == 1

    def wait_leases(self, leases: int) -> None:
        for _ in range(leases * max(LEASES_MS) // 150 + 1):
            self.world.pass_time(150)


@pytest.mark.timeout(900)  # a minute of work, on a machine that has time
@pytest.mark.parametrize("per_client", [3, 1])
def test_whatever_happens_there_are_never_more_permits_than_the_capacity(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, per_client: int
) -> None:
    monkeypatch.setattr(throughput, "MANY_ANSWERS", 2)  # so that several calls are often under way
    monkeypatch.setattr(throughput, "FEW_RELEASES", 1)
    monkeypatch.setattr(calls, "MAX_DECLARED", 1)
    run_state_machine_as_test(
        partial(PoolMachine, redis_url, per_client),  # type: ignore[arg-type]  # whatever makes one will do
        settings=settings(
            max_examples=int(os.environ.get("PERMITS_EXAMPLES", "20")),
            stateful_step_count=60,
            deadline=None,
            derandomize="PERMITS_EXAMPLES" not in os.environ,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
