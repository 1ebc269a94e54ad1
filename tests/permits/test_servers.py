"""The matrix of servers: what is here is in the contract suite, and what is not here is said."""

import pytest

from devtools.redis_servers import WANTED, found_servers


@pytest.mark.parametrize("name", WANTED)
def test_the_contract_suite_runs_on(name: str) -> None:
    if name not in found_servers():
        pytest.skip(f"{name} IS NOT TESTED: no such server on this machine; name its binary in TEST_REDIS_BINARIES")
    assert found_servers()[name].exists()
