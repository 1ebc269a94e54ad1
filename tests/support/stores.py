"""The real stores of a test run: started here, or those that the environment names."""

import os
from collections.abc import Iterator

import pytest

from devtools.mongod import run_mongod
from devtools.swift import S3, run_swift
from devtools.valkey import run_valkey


@pytest.fixture(scope="session")
def mongodb_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a MongoDB for this test run: TEST_MONGODB_URL, or one of its own."""
    given = os.environ.get("TEST_MONGODB_URL")
    if given:
        yield given
        return
    with run_mongod(tmp_path_factory.mktemp("mongod")) as url:
        yield url


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Redis or Valkey for this test run: TEST_REDIS_URL, or one of its own."""
    given = os.environ.get("TEST_REDIS_URL")
    if given:
        yield given
        return
    with run_valkey(tmp_path_factory.mktemp("valkey")) as valkey:
        yield valkey.url


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """An S3 store for this test run: TEST_S3_URL, or one of its own."""
    given = os.environ.get("TEST_S3_URL")
    if given:
        yield S3(given, os.environ.get("TEST_S3_ACCESS_KEY", ""), os.environ.get("TEST_S3_SECRET_KEY", ""))
        return
    with run_swift(tmp_path_factory.mktemp("swift")) as store:
        yield store
