"""Fixtures of the end-to-end tests."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from devtools.stack import Stack, StoreAddresses, open_stack
from devtools.swift import S3
from devtools.valkey import ValkeyServer, run_valkey


@pytest.fixture(scope="session")
def stores(mongodb_url: str, s3: S3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreAddresses]:
    """Real stores, shared by all stacks."""
    with run_valkey(tmp_path_factory.mktemp("valkey")) as valkey:
        yield StoreAddresses(valkey.url, mongodb_url, s3)


@pytest.fixture
def fresh_stores(mongodb_url: str, s3: S3, tmp_path: Path) -> Iterator[StoreAddresses]:
    """Real stores with limits of their own, for tests that count places or break things."""
    with run_valkey(tmp_path) as valkey:
        yield StoreAddresses(valkey.url, mongodb_url, s3)


@pytest.fixture(scope="session")
def stack(stores: StoreAddresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two chat pods and two history pods behind a balancer; tests only send to it."""
    with open_stack(tmp_path_factory.mktemp("stack"), stores, name=uuid4().hex[:8]) as running:
        yield running


__all__ = ["ValkeyServer"]
