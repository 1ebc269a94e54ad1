"""Which hosts a service may be asked for."""

import pytest

from servicekit.hosts import AllowedHosts, allowed_hosts, parse_host_pattern


def allowed(*patterns: str) -> AllowedHosts:
    return AllowedHosts(tuple(map(parse_host_pattern, patterns)), "TEA_ALLOWED_HOSTS")


@pytest.mark.parametrize(
    ("pattern", "host"),
    [
        ("chat.example", "chat.example"),
        ("chat.example", "CHAT.example:8443"),
        ("chat.example", "chat.example."),
        ("Chat.Example:8443", "chat.example:8443"),
        ("chat.example:443", "chat.example"),
        ("chat.example:*", "chat.example:1"),
        ("*.example", "chat.example"),
        ("*.example", "a.b.example:80"),
        ("chat-?.example", "chat-1.example"),
        ("10.0.*", "10.0.3.4:8000"),
        ("[::1]", "[::1]"),
        ("[::1]:8000", "[::1]:8000"),
        ("[fd00:*]", "[fd00::7]:8000"),
        ("*", "[::1]:8000"),
    ],
)
def test_a_host_that_is_named_is_allowed(pattern: str, host: str) -> None:
    assert allowed(pattern).allow(host)


@pytest.mark.parametrize(
    ("pattern", "host"),
    [
        ("chat.example", "chat.example.evil"),
        ("chat.example", "evilchat.example"),
        ("chat.example", "chatxexample"),
        ("chat.example:8443", "chat.example:8444"),
        ("chat.example:8443", "chat.example"),
        ("*.example", "example"),
        ("*.example", "chat.example.evil:80"),
        ("chat-?.example", "chat-.example"),
        ("[::1]:8000", "[::1]"),
        ("[::1]", "[::2]"),
        ("127.0.0.1", "127.0.0.1.evil"),
    ],
)
def test_any_other_is_not(pattern: str, host: str) -> None:
    assert not allowed(pattern).allow(host)


@pytest.mark.parametrize("raw", ["https://chat.example", "chat.example/", "a b", "::1", "", "chat.example:http", "a@b"])
def test_what_is_no_host_is_refused(raw: str) -> None:
    with pytest.raises(ValueError, match="must be a host such as"):
        parse_host_pattern(raw)


@pytest.mark.parametrize("listens_on", ["127.0.0.1", "localhost", "::1", "127.0.0.2", "chat.localhost"])
def test_on_loopback_and_without_tokens_only_this_machine_is_meant(listens_on: str) -> None:
    hosts = allowed_hosts((), listens_on=listens_on, protected=False, setting="TEA_ALLOWED_HOSTS")
    assert hosts is not None
    own = f"[{listens_on}]" if ":" in listens_on else listens_on
    assert all(map(hosts.allow, ("localhost:8000", "127.0.0.1", "[::1]:1", own, f"{own}:8000")))
    assert not any(map(hosts.allow, ("rebound.example", "rebound.example:8000", "10.0.0.1", "127.0.0.1.nip.io")))


@pytest.mark.parametrize(
    ("listens_on", "protected", "patterns"),
    [("0.0.0.0", False, ()), ("::", False, ()), ("127.0.0.1", True, ()), ("127.0.0.1", False, ("a", "*"))],
)
def test_elsewhere_any_host_is_meant(listens_on: str, protected: bool, patterns: tuple[str, ...]) -> None:
    assert allowed_hosts(patterns, listens_on=listens_on, protected=protected, setting="") is None


def test_hosts_that_are_named_come_beside_those_of_this_machine() -> None:
    hosts = allowed_hosts(("chat.example",), listens_on="0.0.0.0", protected=True, setting="")
    assert hosts is not None
    assert hosts.allow("chat.example")
    assert hosts.allow("localhost:8000")
    assert not hosts.allow("rebound.example")
