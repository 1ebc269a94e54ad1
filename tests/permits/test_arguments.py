"""What callers may ask for: the last value that can be taken, and the first that cannot."""

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from redis.asyncio import Redis

from permits.arguments import (
    LONGEST_LEASE_SECONDS,
    LONGEST_WAIT_SECONDS,
    MOST_CLIENT_BYTES,
    MOST_PERMITS,
    MOST_POD_BYTES,
    MOST_WAIT_ID_BYTES,
    SHORTEST_SECONDS,
    check_client,
    check_pod,
    check_pool_name,
    check_request,
    check_seconds,
    check_terms,
    check_wait,
    check_wait_id,
)
from permits.redis import RedisPool

CLIENT_CHECKS = [check_client, lambda client_id: check_request(client_id, 0, None)]
WAIT_CHECKS = [check_wait, lambda seconds: check_request("anna", seconds, None)]
WAIT_ID_CHECKS = [check_wait_id, lambda wait_id: check_request("anna", 0, wait_id)]


@pytest.mark.parametrize("check", CLIENT_CHECKS)
@pytest.mark.parametrize("letter", ["a", "é", "€"])
def test_a_client_id_has_so_many_bytes(check: Callable[[object], None], letter: str) -> None:
    most = MOST_CLIENT_BYTES // len(letter.encode())
    check("")
    check(letter * most)
    with pytest.raises(ValueError, match=f"{MOST_CLIENT_BYTES} is the most"):
        check(letter * (most + 1))


@pytest.mark.parametrize("check", CLIENT_CHECKS)
def test_a_client_id_is_text_that_can_be_written(check: Callable[[object], None]) -> None:
    with pytest.raises(ValueError, match="UTF-8"):
        check("\ud800")
    for other in (None, 1, b"anna"):
        with pytest.raises(TypeError, match="client_id"):
            check(other)


@pytest.mark.parametrize("check", WAIT_CHECKS)
def test_a_wait_has_an_end(check: Callable[[object], None]) -> None:
    for seconds in (0, 0.5, LONGEST_WAIT_SECONDS):
        check(seconds)
    for seconds in (-0.001, -1, math.nextafter(LONGEST_WAIT_SECONDS, math.inf), math.inf, math.nan):
        with pytest.raises(ValueError, match="wait_seconds"):
            check(seconds)
    for other in (None, "1", True, False, Decimal(1)):
        with pytest.raises(TypeError, match="wait_seconds"):
            check(other)


@pytest.mark.parametrize("check", WAIT_ID_CHECKS)
def test_a_wait_id_has_so_many_bytes_and_one_at_least(check: Callable[[object], None]) -> None:
    for wait_id in ("a", "a" * MOST_WAIT_ID_BYTES, "é" * (MOST_WAIT_ID_BYTES // 2)):
        check(wait_id)
    for wait_id in ("", "a" * (MOST_WAIT_ID_BYTES + 1), "é" * (MOST_WAIT_ID_BYTES // 2) + "a", "\ud800"):
        with pytest.raises(ValueError, match="wait_id"):
            check(wait_id)
    with pytest.raises(TypeError, match="wait_id"):
        check(1)


@pytest.mark.parametrize(("name", "least"), [("capacity", 1), ("per_client", 1), ("max_waiting", 0)])
def test_terms_of_a_pool_are_whole_numbers_in_bounds(name: str, least: int) -> None:
    def check(value: object) -> None:
        terms: dict[str, object] = {"capacity": 1, "per_client": None, "max_waiting": 0, name: value}
        check_terms(**terms)  # type: ignore[arg-type] # the point of it

    check(least)
    check(MOST_PERMITS)
    for value in (least - 1, MOST_PERMITS + 1, 1.5, "1", True):
        with pytest.raises(ValueError, match=f"{name} must be a whole number"):
            check(value)


def test_a_lease_is_neither_too_short_nor_too_long() -> None:
    for seconds in (SHORTEST_SECONDS, 1, LONGEST_LEASE_SECONDS):
        check_seconds("lease_seconds", seconds)
    for value in (0.0099, LONGEST_LEASE_SECONDS + 1, math.nan, None, "1", True):
        with pytest.raises(ValueError, match="lease_seconds"):
            check_seconds("lease_seconds", value)


def test_a_pool_has_a_name() -> None:
    for name in ("a", "Reports_2.old-1", "a" * 64):
        check_pool_name(name)
    for name in ("", "a" * 65, "a b", "a\n", "{a}", "ä", "\ud800"):
        with pytest.raises(ValueError, match="a pool's name"):
            check_pool_name(name)
    for other in (None, 1, b"a"):
        with pytest.raises(TypeError, match="name must be text"):
            check_pool_name(other)


def test_a_pod_is_one_word_of_so_many_bytes() -> None:
    for pod in ("a", "host-1.example", "a" * MOST_POD_BYTES, "ü"):
        check_pod(pod)
    for pod in ("", "a b", "a\n", "a" * (MOST_POD_BYTES + 1), "ü" * MOST_POD_BYTES, "\ud800"):
        with pytest.raises(ValueError, match="pod"):
            check_pod(pod)
    for other in (None, 1, b"a"):
        with pytest.raises(TypeError, match="pod must be text"):
            check_pod(other)


@pytest.mark.parametrize("name", ["pod", "prefix", "name"])
def test_what_names_a_pool_of_many_pods_is_text(name: str) -> None:
    for value in (1, b"a", ["a"]):
        arguments: dict[str, Any] = {"name": "a", "redis": Redis(), "capacity": 1, name: value}
        with pytest.raises(TypeError, match=f"{name} must be text"):
            RedisPool(**arguments)
