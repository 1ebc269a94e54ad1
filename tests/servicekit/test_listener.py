"""Ports: all of them or none, and one clear line about the one that cannot be."""

import socket

import pytest
from starlette.applications import Starlette

from devtools.ports import free_port
from servicekit.listener import Address, CannotListen, Listener, bind_all


def listener(
    port: int = 0, host: str = "127.0.0.1", name: str = "tea", hint: str = "", host_hint: str = ""
) -> Listener:
    return Listener(app=Starlette(), host=host, port=port, name=name, hint=hint, host_hint=host_hint)


def listens(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def test_a_port_listens_from_the_moment_it_is_bound() -> None:
    (bound,) = bind_all([listener()])
    port = bound.address.port
    assert listens(port)
    bound.close()
    assert not listens(port)


def test_a_port_may_be_named_and_used_again_at_once() -> None:
    port = free_port()
    for _ in range(2):
        (bound,) = bind_all([listener(port)])
        assert str(bound.address) == f"127.0.0.1:{port}"
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            bound.close()


def test_free_ports_differ_and_keep_the_names_and_the_order() -> None:
    both = bind_all([listener(name="tea"), listener(name="cake")])
    assert [one.address.name for one in both] == ["tea", "cake"]
    assert len({one.address.port for one in both}) == 2
    for one in both:
        one.close()


def test_a_name_is_listened_on_at_each_of_its_addresses_with_one_port() -> None:
    (bound,) = bind_all([listener(host="localhost")])
    found = {info[4][0] for info in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}
    assert {sock.getsockname()[0] for sock in bound.sockets} == found
    assert {sock.getsockname()[1] for sock in bound.sockets} == {bound.address.port}
    bound.close()


def test_everywhere_means_both_families_with_one_port() -> None:
    (bound,) = bind_all([listener(host="*")])
    try:
        families = {sock.family for sock in bound.sockets}
        assert socket.AF_INET in families
        assert (socket.AF_INET6 in families) == has_ipv6()
        assert len({sock.getsockname()[1] for sock in bound.sockets}) == 1
        with socket.create_connection(("127.0.0.1", bound.address.port), timeout=10):
            pass
    finally:
        bound.close()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::", 0))
    except OSError:
        return False
    return True


def test_when_one_port_is_taken_none_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port, other = taken.getsockname()[1], free_port()
        with pytest.raises(CannotListen) as refused:
            bind_all([listener(other), listener(port, hint="set TEA_PORT")])
    assert str(refused.value) == f"cannot listen on 127.0.0.1:{port}: address already in use (set TEA_PORT)"
    assert not listens(other)


@pytest.mark.parametrize(
    ("host", "port", "reason", "setting"),
    [
        pytest.param("192.0.2.1", 0, "cannot assign requested address", "TEA_HOST", id="not ours"),
        pytest.param("127.0.0.1", 70_000, "", "TEA_PORT", id="no port at all"),
        pytest.param("::zz", 1, "", "TEA_HOST", id="no address"),
        pytest.param("a" * 64, 1, "", "TEA_HOST", id="a name too long"),
        pytest.param("tea pot", 1, "", "TEA_HOST", id="no name at all"),
        pytest.param("tea.invalid", 1, "", "TEA_HOST", id="an unknown name"),
    ],
)
def test_whatever_cannot_be_listened_on_is_one_line_with_a_reason_and_the_setting(
    host: str, port: int, reason: str, setting: str
) -> None:
    with pytest.raises(CannotListen) as refused:
        bind_all([listener(port, host, hint="set TEA_PORT", host_hint="set TEA_HOST")])
    said = str(refused.value)
    assert said.startswith(f"cannot listen on {Address('', host, port)}: {reason}")
    assert said.endswith(f" (set {setting})")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("host", "written"), [("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80"), ("localhost", "localhost:80")]
)
def test_an_address_is_written_as_in_a_url(host: str, written: str) -> None:
    assert str(Address("tea", host, 80)) == written
