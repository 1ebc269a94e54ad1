"""A running service answers what its OpenAPI document says, whatever it is asked: all checks of schemathesis."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from devtools.processes import running
from devtools.servers import wait_until
from frameproto.exchange import encode_batch, encode_exchange
from servicekit.tokens import INGEST_SCOPE, mint
from tests.history.pod import MSGPACK
from tests.support.exchanges import exchange

ROOT = Path(__file__).parents[3]
SECRET = "a secret of at least thirty-two bytes"
SEED = "20261124"


def token(subject: str, scope: str | None = None) -> dict[str, str]:
    minted = mint(SECRET, subject=subject, audience="chatbot", lifetime=timedelta(hours=1), scope=scope)
    return {"Authorization": f"Bearer {minted}"}


def schemathesis(address: str, folder: Path, headers: dict[str, str], phases: str, examples: int) -> None:
    """Run all checks in these phases, with so many examples for each operation."""
    given = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{address}/openapi.json", *given),
            *("--checks", "all", "--seed", SEED, "--max-examples", str(examples), "--request-timeout", "20"),
            *(
                "--phases",
                phases,
                "--no-shrink",
                "--continue-on-failure",
                "--warnings",
                "off",
                "--suppress-health-check",
                "all",
            ),
        ],
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "tests.history.api.schemathesis_hooks",
            "PYTHONPATH": str(ROOT),
            "NO_COLOR": "1",
        },
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-8000:] + ended.stderr[-2000:]


@pytest.mark.timeout(300)  # a busy machine takes its time
@pytest.mark.parametrize(
    ("who", "phases", "examples"),
    [
        ("everybody", "coverage,fuzzing,stateful", 3),
        ("a client", "fuzzing,stateful", 2),
        ("nobody", "fuzzing", 1),
    ],
)
def test_the_service_is_as_its_document_says(tmp_path: Path, who: str, phases: str, examples: int) -> None:
    auth = {} if who == "everybody" else {"HISTORY_AUTH": "jwt", "HISTORY_TOKEN_SECRETS": SECRET}
    headers = {"a client": token("anna"), "a service": token("chat", INGEST_SCOPE)}.get(who, {})
    settings = {"HISTORY_PORT": 0, "HISTORY_METRICS_PORT": 0, "HISTORY_DATA_DIR": tmp_path / "data", **auth}
    with running("history_service", tmp_path / "history.log", settings) as service:
        wait_until(
            lambda: service.count("stores.ready") > 0,
            lambda: service.process.poll() is None,
            "the stores are not ready",
            service.log,
        )
        address = f"http://127.0.0.1:{service.ports['history']}"
        batch = encode_batch([encode_exchange(exchange())])
        answer = httpx2.post(
            f"{address}/v1/exchanges", content=batch, headers={**MSGPACK, **token("chat", INGEST_SCOPE)}
        )
        assert answer.status_code == 200
        schemathesis(address, tmp_path, headers, phases, examples)
        assert service.count("request failed") == 0
