"""An S3 store for a test run: Swift, or the one that TEST_S3_URL names."""

import os
from collections.abc import Iterator

import pytest

from tests.support.swift import S3, run_swift


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """An S3 store for this test run."""
    given = os.environ.get("TEST_S3_URL")
    if given:
        yield S3(given, os.environ.get("TEST_S3_ACCESS_KEY", ""), os.environ.get("TEST_S3_SECRET_KEY", ""))
        return
    with run_swift(tmp_path_factory.mktemp("swift")) as store:
        yield store
