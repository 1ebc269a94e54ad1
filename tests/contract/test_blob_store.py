"""What every blob store promises: a folder, and S3 on a real server."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit
from uuid import uuid4

import httpx2
import pytest

from devtools.ports import free_port
from devtools.swift import S3
from history_service.blobs.base import BlobMissing, BlobStore, BlobsUnavailable
from history_service.blobs.filesystem import FolderBlobs
from history_service.blobs.removal import delete_all
from history_service.blobs.s3 import S3Blobs, S3Driver


@pytest.fixture(params=["folder", *get_args(S3Driver)])
async def blobs(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[BlobStore]:
    fresh: BlobStore
    if request.param == "folder":
        fresh = FolderBlobs(tmp_path / "media")
    else:
        s3: S3 = request.getfixturevalue("s3")
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)
        name = f"test-{uuid4().hex}"
        fresh = S3Blobs(name, endpoint_url=s3.endpoint_url, create_bucket=True, driver=request.param)
    await fresh.prepare()
    yield fresh
    await fresh.close()


async def read(blobs: BlobStore, key: str, start: int = 0, end: int | None = None) -> tuple[int, bytes]:
    async with blobs.open(key, start=start, end=end) as blob:
        return blob.size_bytes, b"".join([chunk async for chunk in blob.chunks])


async def test_a_blob_comes_back_as_it_went_in_however_it_is_given(blobs: BlobStore) -> None:
    key = f"anna.b:c-d/{uuid4()}/{uuid4()}/request.mp3"
    data = random.Random(1).randbytes(100_000)
    for given in (data, bytearray(data), memoryview(data)):
        await blobs.put(key, given, "audio/mpeg")
        assert await read(blobs, key) == (len(data), data)


async def test_sixteen_mebibytes_come_in_bounded_chunks(blobs: BlobStore) -> None:
    data = random.Random(2).randbytes(16 * 1024 * 1024)
    await blobs.put("anna/big.mp4", data, "video/mp4")
    async with blobs.open("anna/big.mp4") as blob:
        chunks = [chunk async for chunk in blob.chunks]
    assert b"".join(chunks) == data
    assert max(len(chunk) for chunk in chunks) <= 256 * 1024


@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 10), (3, 7), (9, 10), (5, None), (0, None)])
async def test_ranges(blobs: BlobStore, start: int, end: int | None) -> None:
    await blobs.put("anna/a.mp3", b"0123456789", "audio/mpeg")
    assert await read(blobs, "anna/a.mp3", start, end) == (10, b"0123456789"[start:end])


async def test_the_same_key_again_replaces(blobs: BlobStore) -> None:
    await blobs.put("anna/a.mp3", b"old and longer", "audio/mpeg")
    await blobs.put("anna/a.mp3", b"new", "audio/mpeg")
    assert await read(blobs, "anna/a.mp3") == (3, b"new")


async def test_what_is_not_there_is_missing_and_deleting_it_is_fine(blobs: BlobStore) -> None:
    with pytest.raises(BlobMissing):
        await read(blobs, "anna/nothing.mp3")
    await blobs.put("anna/a.mp3", b"x", "audio/mpeg")
    with pytest.raises(BlobMissing):
        await read(blobs, "anna")
    for _ in range(2):
        await blobs.delete("anna/a.mp3")
    with pytest.raises(BlobMissing):
        await read(blobs, "anna/a.mp3")


async def listed(blobs: BlobStore, prefix: str) -> list[str]:
    return sorted([found.key async for found in blobs.list(prefix)])


async def test_blobs_are_listed_by_folder_with_their_time(blobs: BlobStore) -> None:
    assert await listed(blobs, "") == []
    began = datetime.now(UTC)
    keys = ["anna/s1/a.mp3", "anna/s1/b.mp3", "anna/s2/a.mp3", "anna2/s1/a.mp3"]
    for key in keys:
        await blobs.put(key, b"x", "audio/mpeg")
    assert await listed(blobs, "") == keys
    assert await listed(blobs, "anna/") == keys[:3]
    assert await listed(blobs, "anna/s1/") == keys[:2]
    assert await listed(blobs, "nobody/") == []
    async for found in blobs.list(""):
        assert abs(found.modified_at - began) < timedelta(minutes=1)


async def test_many_blobs_are_deleted_by_name(blobs: BlobStore) -> None:
    keys = [f"anna/s1/{number:02}.mp3" for number in range(40)]
    await asyncio.gather(*(blobs.put(key, b"x", "audio/mpeg") for key in [*keys, "anna2/a.mp3"]))
    for _ in range(2):
        await delete_all(blobs, keys)
        assert await listed(blobs, "") == ["anna2/a.mp3"]
    await blobs.put(keys[0], b"again", "audio/mpeg")
    assert await read(blobs, keys[0]) == (5, b"again")


async def test_s3_blobs_have_their_content_type_and_the_encryption_that_was_asked_for(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    asked: dict[str, Any] = {}

    def note(params: dict[str, Any], **_: object) -> None:
        asked.update(params["headers"])

    blobs = S3Blobs(
        f"test-{uuid4().hex}",
        endpoint_url=s3.endpoint_url,
        create_bucket=True,
        encryption="aws:kms",
        kms_key_id="our-key",
    )
    await blobs.prepare()
    blobs._client.meta.events.register("before-call.s3.PutObject", note)
    with pytest.raises(BlobsUnavailable, match="NotImplemented"):  # Swift cannot, and does not pass over it
        await blobs.put("anna/a.mp3", b"x", "audio/mpeg")
    assert asked["x-amz-server-side-encryption"] == "aws:kms"
    assert asked["x-amz-server-side-encryption-aws-kms-key-id"] == "our-key"
    assert asked["Content-Type"] == "audio/mpeg"
    await blobs.close()


async def test_a_folder_has_no_empty_folders_left_and_hides_what_is_not_whole(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "media")
    await blobs.prepare()
    for key in ("anna/s1/e1/a.mp3", "anna/s1/e2/a.mp3"):
        await blobs.put(key, b"x", "audio/mpeg")
    (tmp_path / "media" / "anna" / "s1" / "e2" / ".a.mp3.123").write_bytes(b"half")
    await blobs.delete("anna/s1/e1/a.mp3")
    assert not (tmp_path / "media" / "anna" / "s1" / "e1").exists()
    assert await listed(blobs, "") == ["anna/s1/e2/a.mp3"]

    async def churn(number: int) -> None:
        for _ in range(30):
            await blobs.put(f"ben/s/e/{number}.mp3", b"x", "audio/mpeg")
            await blobs.delete(f"ben/s/e/{number}.mp3")

    await asyncio.gather(*(churn(number) for number in range(3)))
    assert not (tmp_path / "media" / "ben").exists()


async def test_many_at_once(blobs: BlobStore) -> None:
    await asyncio.gather(*(blobs.put(f"anna/{n}.mp3", bytes([n]) * 1000, "audio/mpeg") for n in range(20)))
    found = await asyncio.gather(*(read(blobs, f"anna/{n}.mp3") for n in range(20)))
    assert [data for _, data in found] == [bytes([n]) * 1000 for n in range(20)]


async def test_a_reader_that_stops_in_the_middle_leaves_the_store_usable(blobs: BlobStore) -> None:
    await blobs.put("anna/a.mp4", bytes(3_000_000), "video/mp4")
    for _ in range(5):
        async with blobs.open("anna/a.mp4") as blob:
            async for _ in blob.chunks:
                break
    assert (await read(blobs, "anna/a.mp4", 0, 4))[1] == bytes(4)


async def test_preparing_twice_changes_nothing(blobs: BlobStore) -> None:
    await blobs.put("anna/a.mp3", b"x", "audio/mpeg")
    await blobs.prepare()
    assert await read(blobs, "anna/a.mp3") == (1, b"x")


async def test_an_address_of_the_store_opens_one_blob_or_there_is_none(blobs: BlobStore) -> None:
    await blobs.put("anna/a.mp3", b"0123456789", "audio/mpeg")
    await blobs.put("ben/b.mp3", b"not anna's", "audio/mpeg")
    address = await blobs.address("anna/a.mp3", seconds=60)
    if isinstance(blobs, FolderBlobs):
        assert address is None
        return
    assert address is not None
    async with httpx2.AsyncClient() as http:
        whole = await http.get(address)
        assert (whole.status_code, whole.content) == (200, b"0123456789")
        assert whole.headers["content-type"] == "audio/mpeg"
        part = await http.get(address, headers={"range": "bytes=3-6"})
        assert (part.status_code, part.content) == (206, b"3456")
        for changed in (
            address.replace("anna/a.mp3", "ben/b.mp3"),
            address.replace("X-Amz-Expires=60", "X-Amz-Expires=600"),
            address[:-4] + ("0000" if not address.endswith("0000") else "1111"),
            address.partition("?")[0],
        ):
            assert changed != address
            assert (await http.get(changed)).status_code in {400, 403}
        assert (await http.put(address, content=b"overwritten")).status_code == 403
        absent = await blobs.address("anna/nothing.mp3", seconds=60)
        assert absent is not None
        assert (await http.get(absent)).status_code == 404


async def test_an_address_of_the_store_ends(blobs: BlobStore) -> None:
    await blobs.put("anna/a.mp3", b"0123456789", "audio/mpeg")
    address = await blobs.address("anna/a.mp3", seconds=1)
    if address is None:
        assert isinstance(blobs, FolderBlobs)
        return
    async with httpx2.AsyncClient() as http, asyncio.timeout(60):
        while (await http.get(address)).status_code != 403:  # noqa: ASYNC110 - it is the store's clock that counts
            await asyncio.sleep(0.1)


async def test_addresses_are_signed_for_where_clients_reach_the_store(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    bucket = f"test-{uuid4().hex}"
    outside = s3.endpoint_url.replace("127.0.0.1", "localhost")
    blobs = S3Blobs(bucket, endpoint_url=s3.endpoint_url, public_url=outside, create_bucket=True)
    await blobs.prepare()
    await blobs.put("anna/a.mp3", b"0123456789", "audio/mpeg")
    address = await blobs.address("anna/a.mp3", seconds=60)
    assert address is not None
    assert address.startswith(outside)
    async with httpx2.AsyncClient() as http:
        assert (await http.get(address)).content == b"0123456789"
        elsewhere = address.replace("localhost", "127.0.0.1")
        assert (await http.get(elsewhere)).status_code == 403
    await blobs.close()


@pytest.mark.parametrize("key", ["../a", "a/../../b", "/etc/passwd", "a//b", "", ".", "a/\0b"])
async def test_a_folder_is_never_left(tmp_path: Path, key: str) -> None:
    blobs = FolderBlobs(tmp_path / "media")
    await blobs.prepare()
    with pytest.raises(ValueError, match="not a key"):
        await blobs.put(key, b"x", "audio/mpeg")


async def test_a_folder_that_is_full_keeps_the_old_blob_and_no_rest(tmp_path: Path, full_disk: None) -> None:
    blobs = FolderBlobs(tmp_path / "media")
    await blobs.put("anna/a.mp3", b"old", "audio/mpeg")
    with pytest.raises(BlobsUnavailable, match="cannot be written"):
        await blobs.put("anna/a.mp3", bytes(100_000), "audio/mpeg")
    assert await read(blobs, "anna/a.mp3") == (3, b"old")
    assert [path.name for path in (tmp_path / "media" / "anna").iterdir()] == ["a.mp3"]


async def test_s3_that_is_not_there_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in S3("", "key", "secret").environment.items():
        monkeypatch.setenv(name, value)
    blobs = S3Blobs("media", endpoint_url=f"http://127.0.0.1:{free_port()}", wait_seconds=0.3)
    with pytest.raises(BlobsUnavailable, match="cannot be reached"):
        await blobs.prepare()
    await blobs.close()


async def test_s3_without_the_bucket_or_with_wrong_credentials_is_unavailable(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    blobs = S3Blobs(f"test-{uuid4().hex}", endpoint_url=s3.endpoint_url)
    with pytest.raises(BlobsUnavailable, match="bucket test-"):
        await blobs.prepare()
    await blobs.close()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    blobs = S3Blobs(f"test-{uuid4().hex}", endpoint_url=s3.endpoint_url, create_bucket=True)
    with pytest.raises(BlobsUnavailable, match="403"):
        await blobs.prepare()
    await blobs.close()


async def test_a_blob_is_created_once(blobs: BlobStore) -> None:
    assert await blobs.create("_chatbot/database.json", b"first", "application/json")
    assert not await blobs.create("_chatbot/database.json", b"second", "application/json")
    assert await read(blobs, "_chatbot/database.json") == (5, b"first")


async def test_a_prefix_is_all_that_is_seen_of_a_bucket(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    bucket = f"test-{uuid4().hex}"
    blue, green, whole = (
        S3Blobs(bucket, endpoint_url=s3.endpoint_url, prefix=prefix, create_bucket=True)
        for prefix in ("blue/", "green/", "")
    )
    for each in (blue, green, whole):
        await each.prepare()
    await blue.put("anna/a.mp3", b"blue", "audio/mpeg")
    await green.put("anna/a.mp3", b"green", "audio/mpeg")
    assert await listed(whole, "") == ["blue/anna/a.mp3", "green/anna/a.mp3"]
    assert await listed(blue, "") == ["anna/a.mp3"]
    await blue.delete("anna/a.mp3")
    assert await listed(blue, "anna/") == []
    assert await read(green, "anna/a.mp3") == (5, b"green")
    address = await green.address("anna/a.mp3", seconds=60)
    assert address is not None
    async with httpx2.AsyncClient() as http:
        assert (await http.get(address)).content == b"green"
    for each in (blue, green, whole):
        await each.close()


@asynccontextmanager
async def without_conditions(endpoint_url: str) -> AsyncIterator[str]:
    """Stand before a store, and answer uploads that have a condition as a store does that knows none: 501."""
    target = urlsplit(endpoint_url)
    refusal = b"<?xml version='1.0'?><Error><Code>NotImplemented</Code></Error>"

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):
                while data := await reader.read(65_536):
                    writer.write(data)
                    await writer.drain()
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if b"if-none-match" in head.lower():
                length = f"Content-Length: {len(refusal)}\r\nConnection: close\r\n\r\n"
                writer.write(b"HTTP/1.1 501 Not Implemented\r\n" + length.encode() + refusal)
                await writer.drain()
                writer.close()
                return
            # One request a connection, so that each head is seen.
            head = head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
            upstream = await asyncio.open_connection(target.hostname, target.port)
            upstream[1].write(head)
            await asyncio.gather(pipe(reader, upstream[1]), pipe(upstream[0], writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_store_that_refuses_conditions_can_still_create(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    async with without_conditions(s3.endpoint_url) as url:
        blobs = S3Blobs(f"test-{uuid4().hex}", endpoint_url=url, create_bucket=True)
        await blobs.prepare()
        try:
            assert await blobs.create("_chatbot/a.json", b"one", "application/json")
            assert not await blobs.create("_chatbot/a.json", b"two", "application/json")
            assert await read(blobs, "_chatbot/a.json") == (3, b"one")
        finally:
            await blobs.close()
