"""Media that is read from S3 itself: the pod only says where, to whom may know."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from devtools.swift import S3
from history_service.app import open_history
from history_service.settings import HistorySettings
from tests.history.pod import SHOWN, Moody, Pod, check_problem, client
from tests.support.exchanges import exchange

SECRET = "a secret of at least thirty-two bytes"
KEPT = exchange(response=SHOWN)
IMAGE = f"/v1/messages/{KEPT.id}.reply/media/image"


@pytest.fixture
async def pod(tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pod]:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    given: dict[str, Any] = {
        "data_dir": tmp_path,
        "s3_bucket": f"test-{uuid4().hex}",
        "s3_endpoint_url": s3.endpoint_url,
        "s3_create_bucket": True,
        "media_redirect": True,
        "media_address_secrets": SECRET,
    }
    async with open_history(HistorySettings(**given)) as history, client(history.app) as http:
        pod = Pod(history, http, http, Moody(None), Moody(None), tmp_path)  # type: ignore[arg-type]
        await pod.wait_until_ready()
        await pod.ingest(KEPT)
        yield pod


async def test_readers_are_sent_to_the_store_for_a_while(pod: Pod) -> None:
    signed = (await pod.http.post(f"{IMAGE}/address")).json()["href"]
    for path in (IMAGE, signed):
        answer = await pod.http.get(path)
        assert answer.status_code == 307
        assert answer.headers["cache-control"] == "no-store"
        async with httpx2.AsyncClient() as http:
            there = await http.get(answer.headers["location"], headers={"range": "bytes=2-5"})
        assert (there.status_code, there.content) == (206, SHOWN.image[2:6])
        assert there.headers["content-type"] == "image/jpeg"


async def test_what_needs_no_bytes_is_answered_by_the_pod(pod: Pod) -> None:
    size = await pod.http.head(IMAGE)
    assert (size.status_code, size.headers["content-length"]) == (200, str(len(SHOWN.image)))
    known = await pod.http.get(IMAGE, headers={"if-none-match": size.headers["etag"]})
    assert known.status_code == 304


async def test_who_may_not_read_is_sent_nowhere(pod: Pod) -> None:
    signed = (await pod.http.post(f"{IMAGE}/address")).json()["href"]
    check_problem(await pod.http.get(signed.replace("image?", "voice?")), 403, "address_invalid")
    check_problem(await pod.http.get(IMAGE.replace("image", "video")), 404, "media_unknown")
