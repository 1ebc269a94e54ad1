"""The `permits` command: what an operator sees, and what becomes of pods when something is changed."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from devtools.ports import free_port
from devtools.valkey import run_valkey
from permits import PermitTimeout, PoolUnavailable
from permits.redis import RedisPool
from tests.client.command import on_terminal
from tests.permits.command import COMMAND, Cli
from tests.permits.conftest import OpenPod
from tests.permits.parts import SECONDS, ask, hold, queue_up, until

LEASE_SECONDS = 4


@pytest.fixture
def cli(redis_url: str) -> Cli:
    return Cli(redis_url)


async def test_show_tells_all_of_a_pool(cli: Cli, open_pod: OpenPod, name: str) -> None:
    one, two = await open_pod(capacity=3, pod="one"), await open_pod(capacity=3, pod="two")
    await hold(one, "anna", "anna", "ben")
    await queue_up(two, "carl")
    done = await cli("show", name)
    assert (done.code, done.err) == (0, "")
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0] == f"{name} held 3 of 3 high-water 3 waiting 1 reaped 0".split()
    [pod_one] = [line for line in lines if line and line[0].startswith("one/")]
    [pod_two] = [line for line in lines if line and line[0].startswith("two/")]
    assert (pod_one[2:], pod_two[2:]) == (["s", "3", "0", "3"], ["s", "0", "1", "3"])
    assert ["anna", "2"] in lines
    assert ["ben", "1"] in lines
    [waiter] = [line for line in lines if "carl" in line]
    assert waiter[-1] == pod_two[0]


async def test_show_as_json_is_for_programs(cli: Cli, open_pod: OpenPod, name: str) -> None:
    one, two = await open_pod(capacity=1, pod="one"), await open_pod(capacity=1, pod="two")
    await hold(one, "anna")
    await queue_up(two, "ben", "carl")
    [shown] = (await cli("show", name, "--json")).objects
    figures = {"pool": name, "held": 1, "capacity": 1, "high_water": 1, "waiting": 2, "learning_seconds": 0}
    assert figures.items() <= shown.items()
    assert (shown["reaped"], shown["capacity_version"], shown["jumps"], shown["refused"]) == (0, 1, 0, [])
    assert shown["clients"] == {"anna": 1}
    assert [(pod["name"][:4], pod["held"], pod["waiting"]) for pod in shown["pods"]] == [("one/", 1, 0), ("two/", 0, 2)]
    assert [waiter["client_id"] for waiter in shown["line"]] == ["ben", "carl"]
    assert shown["line"][0]["ticket"] < shown["line"][1]["ticket"]
    assert shown["epoch"] > 0


async def test_settings_have_names_of_the_library_as_well(redis_url: str, name: str) -> None:
    names = {"CHAT_REDIS_URL": "", "PERMITS_REDIS_URL": redis_url, "PERMITS_PREFIX": "mine"}
    async with Redis.from_url(redis_url) as redis, RedisPool(name, redis=redis, capacity=7, prefix="mine"):
        done = await Cli("")("show", name, "--json", **names)
    assert (done.code, done.objects[0]["capacity"]) == (0, 7)


async def test_the_password_of_a_store_may_come_by_itself(tmp_path: Path, open_pod: OpenPod, name: str) -> None:
    with run_valkey(tmp_path) as valkey:
        await open_pod(valkey.url, learns=True)
        async with Redis.from_url(valkey.url) as redis:
            await redis.config_set("requirepass", "a@b/c:%")
        cli = Cli(valkey.url)
        assert (await cli("show")).code != 0
        done = await cli("show", CHAT_REDIS_PASSWORD="a@b/c:%\n")
        assert name in done.out


async def test_show_finds_the_pools_of_a_store(tmp_path: Path, open_pod: OpenPod, name: str) -> None:
    with run_valkey(tmp_path) as valkey:
        cli = Cli(valkey.url)
        nothing = await cli("show")
        assert (nothing.code, nothing.out) == (0, "")
        assert "there are no pools" in nothing.err
        await open_pod(valkey.url, learns=True)
        done = await cli("show", CHAT_REDIS_URL="", REDIS=valkey.url)
        assert done.code == 2
        done = await cli("show", "--redis", valkey.url, CHAT_REDIS_URL="")
        assert name in done.out
        done = await cli("show", CHAT_REDIS_URL=f"{valkey.url}\n")  # as from a Secret made of a file
        assert name in done.out
        assert "learning for" in done.out
        assert [pool["pool"] for pool in (await cli("show", "--json")).objects] == [name]


async def test_what_clients_call_themselves_cannot_steer_the_terminal(cli: Cli, open_pod: OpenPod, name: str) -> None:
    pool = await open_pod(capacity=1)
    hostile = "\x1b[2J[red]bold[/]\r\n\x9b31mfake  99\u202eu"
    await hold(pool, hostile)
    await queue_up(pool, hostile)
    done = await cli("show", name)
    assert not {"\x1b", "\r", "\x9b", "\u202e"} & set(done.out)
    assert sum("fake" in line for line in done.out.splitlines()) == 2
    assert "[red]bold[/]" in done.out
    told = await cli("show", name, "--json")
    assert told.out.isascii()
    assert told.objects[0]["clients"] == {hostile: 1}


async def test_more_capacity_goes_to_the_line_at_once_and_less_revokes_nothing(
    cli: Cli, open_pod: OpenPod, name: str
) -> None:
    one, two = [await open_pod(capacity=1, lease_seconds=1000) for _ in range(2)]  # heartbeats come too late
    (first,) = await hold(one, "anna")
    [second_ask, third_ask] = await queue_up(two, "ben", "carl")
    raised = await cli("set", name, "--capacity", 2)
    assert (raised.code, raised.out) == (0, f"{name}: capacity 1 → 2; held 2, waiting 1\n")
    async with asyncio.timeout(SECONDS):
        second = await second_ask
        for pod in (one, two):
            await until(pod, lambda state: (state.capacity, state.held) == (2, 2))
    lowered = await cli("set", name, "--capacity", 1, "--json")
    assert [(pool["capacity"], pool["held"]) for pool in lowered.objects] == [(1, 2)]
    assert (first.valid(), second.valid()) == (True, True)
    first.release()
    await until(one, lambda state: state.held == 1)
    assert not third_ask.done()
    for pod in (one, two):
        with pytest.raises(PermitTimeout):
            await hold(pod, "dora")
    second.release()
    async with asyncio.timeout(SECONDS):
        assert (await third_ask).valid()


async def test_a_refused_pod_loses_its_permits_to_others_until_it_is_allowed(
    cli: Cli, open_pod: OpenPod, name: str
) -> None:
    bad = await open_pod(capacity=1, pod="bad", lease_seconds=LEASE_SECONDS)
    good = await open_pod(capacity=1, pod="good", lease_seconds=LEASE_SECONDS)
    (permit,) = await hold(bad, "anna")
    (waiting,) = await queue_up(good, "ben")
    refused = await cli("refuse", name, "bad")
    assert refused.code == 0
    assert "is refused; 1 permits are free within" in refused.out
    async with asyncio.timeout(SECONDS):
        await permit.lost()
        (await waiting).release()
    with pytest.raises(PoolUnavailable):
        await bad.acquire("anna", wait_seconds=SECONDS)
    [shown] = (await cli("show", name, "--json")).objects
    assert [pod[:4] for pod in shown["refused"]] == ["bad/"]
    assert "bad/" in (await cli("show", name)).out
    allowed = await cli("allow", name, "bad/", "--json")
    assert [(told["pod"][:4], told["refused"]) for told in allowed.objects] == [("bad/", False)]
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                await hold(bad, "anna")
                break
            except PoolUnavailable:
                await until(good, lambda state: state.held == 0)


@pytest.mark.parametrize(
    ("command", "pod", "why"),
    [
        ("refuse", "chat-1", "may be any of: chat-1/"),
        ("refuse", "chat-2", "no pod of"),
        ("allow", "chat-1/", "no refused pod of"),
    ],
    ids=["ambiguous", "unknown", "not refused"],
)
async def test_a_pod_must_be_meant_clearly(
    cli: Cli, open_pod: OpenPod, name: str, command: str, pod: str, why: str
) -> None:
    for called in ("chat-1", "chat-10"):
        await open_pod(pod=called)
    done = await cli(command, name, pod)
    assert (done.code, done.out) == (3, "")
    assert why in done.err
    assert len(done.err.splitlines()) == 1


async def test_trust_ends_the_learning_when_somebody_is_sure(
    open_pod: OpenPod, name: str, tmp_path: Path, redis_url: str, cli: Cli
) -> None:
    pool = await open_pod(learns=True, lease_seconds=300)
    waiting = ask(pool, "anna", 300)
    await until(pool, lambda state: state.waiting == 1)
    nobody_there = await cli("trust", name)
    assert nobody_there.code == 2
    assert "--yes" in nobody_there.err

    def answer(key: str) -> tuple[int, str]:
        with on_terminal(tmp_path, "trust", name, command=[COMMAND], CHAT_REDIS_URL=redis_url) as terminal:
            terminal.expect("Grant again now? [y/N]")
            terminal.type(f"{key}\r")
            return terminal.wait(), terminal.shown

    code, shown = await asyncio.to_thread(answer, "n")
    assert code == 1
    assert "nothing was changed" in shown
    assert not waiting.done()
    code, shown = await asyncio.to_thread(answer, "y")
    assert code == 0
    assert "held 1 of 1" in shown
    assert (await waiting).valid()
    again = await cli("trust", name)
    assert (again.code, again.out) == (0, f"{name}: is not learning; nothing to do\n")


async def test_trust_asks_nobody_with_yes(cli: Cli, open_pod: OpenPod, name: str) -> None:
    pool = await open_pod(learns=True, lease_seconds=300)
    [shown] = (await cli("trust", name, "--yes", "--json")).objects
    assert shown["learning_seconds"] == 0
    assert len(await hold(pool, "anna")) == 1


async def test_watch_without_a_terminal_prints_a_line_for_each_look(cli: Cli, open_pod: OpenPod, name: str) -> None:
    pool = await open_pod(capacity=1)
    process = await cli.start("watch", name, "--refresh", 0.1)
    assert process.stdout is not None
    async with asyncio.timeout(SECONDS * 3):
        assert b'"held": 0' in await process.stdout.readline()
        await hold(pool, "anna")
        while b'"held": 1' not in await process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")


async def test_watch_on_a_terminal_shows_changes_and_survives_the_store(
    open_pod: OpenPod, name: str, tmp_path: Path
) -> None:
    port = free_port()

    def watch(url: str) -> tuple[int, str]:
        words = ("watch", name, "--refresh", "0.1")
        with on_terminal(tmp_path, *words, command=[COMMAND], CHAT_REDIS_URL=url) as terminal:
            terminal.expect("held 0 of 1")
            loop.call_soon_threadsafe(first_look.set)
            terminal.expect("held 1 of 1")
            terminal.expect("anna")
            loop.call_soon_threadsafe(second_look.set)
            terminal.expect("this is the last reading")
            terminal.process.send_signal(signal.SIGINT)
            return terminal.wait(), terminal.shown

    loop, first_look, second_look = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    with run_valkey(tmp_path, port) as valkey:
        pool = await open_pod(valkey.url)
        watching = asyncio.create_task(asyncio.to_thread(watch, valkey.url))
        await first_look.wait()
        await hold(pool, "anna")
        await second_look.wait()
    code, shown = await watching
    assert code == 0
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["show", "nobody-was-here"], 3, "there is no pool called nobody-was-here with the prefix permits here"),
        (["show", "--prefix", "permits:nobody:was-here"], 0, "no pools with the prefix permits:nobody:was-here"),
        (["watch", "nobody-was-here"], 3, "there is no pool called"),
        (["set", "nobody-was-here", "--capacity", "1"], 3, "there is no pool called"),
        (["refuse", "nobody-was-here", "pod"], 3, "there is no pool called"),
        (["allow", "nobody-was-here", "pod"], 3, "there is no pool called"),
        (["trust", "nobody-was-here", "--yes"], 3, "there is no pool called"),
        (["show", "no pool"], 2, "1 to 64 letters"),
        (["set", "connections"], 2, "Missing option '--capacity'"),
        (["set", "connections", "--capacity", "0"], 2, "0 is not in the range"),
        (["set", "connections", "--capacity", "many"], 2, "not a valid integer"),
        (["refuse", "connections"], 2, "Missing argument 'POD'"),
        (["refuse", "connections", ""], 2, "the beginning of every name"),
        (["watch", "connections", "--refresh", "0"], 2, "0.1<=x<=3600"),
        (["completion", "tcsh"], 2, "is not one of"),
        (["shwo"], 2, "No such command"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
async def test_wrong_use_is_one_clear_complaint(cli: Cli, words: list[str], code: int, why: str) -> None:
    done = await cli(*words)
    assert (done.code, done.out) == (code, "")
    assert why in done.err


@pytest.mark.parametrize(
    ("url", "code", "why"),
    [
        ("redis://:s3cret@127.0.0.1:1/0", 5, "the store cannot be asked"),
        ("redis://u:s3cret@127.0.0.1:port", 2, "must be an address such as"),
        ("redis://u:s3cret@127.0.0.1/zero", 2, "must be an address such as"),
        ("redis://u:s3cret@127.0.0.1/0?answer=42", 2, "must be an address such as"),
        ("http://u:s3cret@127.0.0.1/", 2, "must be an address such as"),
        ("", 2, "CHAT_REDIS_URL"),
    ],
    ids=["nobody listens", "port", "database", "parameter", "scheme", "none"],
)
async def test_a_store_that_cannot_be_asked_is_told_without_its_password(url: str, code: int, why: str) -> None:
    for done in (await Cli(url)("show"), await Cli("")("show", "pool", *(["--redis", url] if url else []))):
        assert (done.code, done.out) == (code, "")
        assert why in done.err
        assert "s3cret" not in done.err


async def test_a_wrong_password_and_a_misplaced_address_are_not_repeated(cli: Cli) -> None:
    secret = cli.url.replace("redis://", "redis://nobody:s3cret@")
    for code, done in ((5, await Cli(secret)("show")), (2, await cli(secret)), (2, await cli("show", "a", secret))):
        assert done.code == code
        assert "s3cret" not in done.err + done.out


KEYS = ("~mine:*", "~permits:{*}:*")
RIGHTS = ("&mine:*", "+@read", "+@write", "+@scripting", "+publish", "+subscribe", "+ping", "+time", "+info")
"""Of a user of a pool with the prefix "mine", as docs/permits.md has them."""


async def test_a_socket_and_the_rights_of_a_pool_are_enough(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with run_valkey(tmp_path, options=["--unixsocket", str(path)]) as valkey:
        async with Redis.from_url(valkey.url) as admin:
            command: Any = admin.execute_command  # it has no type
            await command("ACL", "SETUSER", "anna", "on", ">s3cret", *KEYS, *RIGHTS)
            await command("ACL", "SETUSER", "carl", "on", ">s3cret", KEYS[0], *RIGHTS)
        url = f"unix://anna:s3cret@{path}"
        async with Redis.from_url(url) as redis, RedisPool("jobs", redis=redis, capacity=1, prefix="mine") as pool:
            assert pool.ready()
            for address in (url, f"unix://{path}?db=0&username=anna&password=s3cret"):
                done = await Cli(address)("set", "jobs", "--capacity", 2, "--prefix", "mine")
                assert (done.code, done.err) == (0, "")
        for address, code, why in (
            (url.replace("anna", "carl"), 5, "those that begin with permits:{NAME}:"),
            (f"unix://{path}x?password=s3cret", 5, "No such file"),
            (f"unix://{path}?db=zero&password=s3cret", 2, "must be an address such as"),
            ("unix://", 2, "must be an address such as"),
        ):
            done = await Cli(address)("show", "jobs", "--prefix", "mine")
            assert done.code == code
            assert why in done.err
            assert "s3cret" not in done.err
        misplaced = await Cli(url)("show", "a", f"unix://{path}?password=s3cret")
        assert "s3cret" not in misplaced.err


async def test_a_server_that_asks_for_a_password_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with run_valkey(tmp_path) as valkey:
        async with Redis.from_url(valkey.url) as admin:
            await admin.config_set("requirepass", "s3cret")
        async with Redis.from_url(valkey.url) as redis, RedisPool("jobs", redis=redis, capacity=1) as pool:
            assert not pool.ready()
        done = await Cli(valkey.url)("show")
    assert done.code == 5
    for told in (caplog.text, done.err):
        assert "this server asks for a password" in told


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_commands_are_completed(cli: Cli, shell: str) -> None:
    script = await cli("completion", shell)
    assert script.code == 0
    assert "_PERMITS_COMPLETE" in script.out
    done = await cli(
        _PERMITS_COMPLETE=f"{shell}_complete", COMP_WORDS="permits ref", COMP_CWORD="ref" if shell == "fish" else "1"
    )
    assert "refuse" in done.out


@pytest.mark.parametrize("command", ["", "show", "watch", "set", "refuse", "allow", "trust", "completion"])
async def test_help_needs_no_store(command: str) -> None:
    done = await Cli("")(*command.split(), "--help")
    assert (done.code, done.err) == (0, "")
    assert "Usage: permits" in done.out


async def test_no_color_means_none(open_pod: OpenPod, name: str, tmp_path: Path, redis_url: str) -> None:
    await open_pod()
    for variables, colourful in (({}, True), ({"NO_COLOR": "1"}, False)):

        def show(variables: dict[str, str] = variables) -> str:
            with on_terminal(
                tmp_path, "show", name, command=[COMMAND], CHAT_REDIS_URL=redis_url, **variables
            ) as terminal:
                assert terminal.wait() == 0
            return terminal.raw

        assert ("\x1b[32m" in await asyncio.to_thread(show)) is colourful


async def test_a_new_pool_can_be_made_once_and_need_not_learn(cli: Cli, open_pod: OpenPod, name: str) -> None:
    made = await cli("trust", name, "--new")
    assert (made.code, made.out) == (0, f"{name}: is new; its first pods grant at once, and seed its capacity\n")
    pool = await open_pod(capacity=3, learns=True)
    assert (await pool.acquire("anna", wait_seconds=0)).valid()
    again = await cli("trust", name, "--new")
    assert (again.code, again.out) == (3, "")
    assert "has been used here before" in again.err


async def test_show_says_when_settings_disagree_with_the_capacity(cli: Cli, open_pod: OpenPod, name: str) -> None:
    await open_pod(capacity=3)
    assert "settings of some pods" not in (await cli("show", name)).out
    await open_pod(capacity=5)
    assert "the settings of some pods say a capacity of 3" in (await cli("show", name)).out
