"""Blobs in an S3 bucket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final, Literal, assert_never

import aioboto3
from aiobotocore.session import get_session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from frameproto import Buffer
from history_service.blobs.base import CHUNK_BYTES, BlobInfo, BlobMissing, BlobsUnavailable, OpenBlob

S3Driver = Literal["aioboto3", "aiobotocore"]

UPLOADS_AT_ONCE: Final = 16
"""Each upload holds a copy of its blob, so they are limited separately from batches."""

POOL: Final = 50
"""Connections for storing, deleting and listing, which never wait for readers."""

MISSING: Final = {"NoSuchKey", "404", "NotFound"}
NO_BUCKET: Final = {"NoSuchBucket", "404", "NotFound"}
THERE_ALREADY: Final = {"PreconditionFailed", "ConditionalRequestConflict", "409", "412"}
NO_CONDITIONS: Final = {"NotImplemented", "501"}
OURS_ALREADY: Final = {"BucketAlreadyOwnedByYou"}


class S3Blobs:
    """The blob store in a bucket.

    Args:
        bucket: the name of the bucket.
        prefix: the prefix of all keys in the bucket, ending with a slash. Nothing outside of it is touched.
        endpoint_url: the address of a store other than AWS; buckets are then in the path.
        public_url: the address for clients, if they do not reach `endpoint_url`.
        region: the region of the bucket.
        create_bucket: whether to create a missing bucket.
        encryption: the encryption to request, `AES256` or `aws:kms`; None: the bucket's default.
        kms_key_id: the key of `aws:kms`; None: the account's own.
        driver: aioboto3, or aiobotocore, which it is based on.
        wait_seconds: how long to wait for a connection, or for the next bytes.
        max_open: how many blobs may be open at once; each holds a connection until its reader is done.
    """

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        endpoint_url: str | None = None,
        public_url: str | None = None,
        region: str | None = None,
        create_bucket: bool = False,
        encryption: str | None = None,
        kms_key_id: str | None = None,
        driver: S3Driver = "aioboto3",
        wait_seconds: float = 10.0,
        max_open: int = POOL,
    ) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._endpoint_url = endpoint_url
        self._public_url = public_url or endpoint_url
        self._region = region
        self._driver = driver
        self._create_bucket = create_bucket
        asked = {"ServerSideEncryption": encryption, "SSEKMSKeyId": kms_key_id}
        self._encryption = {name: value for name, value in asked.items() if value is not None}
        self._uploading = asyncio.Semaphore(UPLOADS_AT_ONCE)
        config = Config(
            connect_timeout=wait_seconds,
            read_timeout=wait_seconds,
            retries={"mode": "standard", "max_attempts": 3},
            signature_version="s3v4",  # botocore would use the old version for presigned addresses of some stores
            s3={"addressing_style": "path" if endpoint_url else "auto"},
            # Many S3-compatible stores do not know checksums newer than the signature's own.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        self._config = config.merge(Config(max_pool_connections=POOL))
        self._reading_config = config.merge(Config(max_pool_connections=max_open))
        self._resources = AsyncExitStack()
        self._client: Any = None
        self._reading: Any = None
        self._signing: Any = None  # the host is part of the signature of an address

    async def prepare(self) -> None:
        """See `BlobStore.prepare`."""
        if self._client is None:
            async with self._errors():
                self._reading = await self._resources.enter_async_context(
                    self._open_client(self._endpoint_url, self._reading_config)
                )
                self._client = self._signing = await self._resources.enter_async_context(
                    self._open_client(self._endpoint_url, self._config)
                )
                if self._public_url != self._endpoint_url:
                    self._signing = await self._resources.enter_async_context(
                        self._open_client(self._public_url, self._config)
                    )
        async with self._errors():
            try:
                await self._client.head_bucket(Bucket=self._bucket)
            except ClientError as exc:
                if _code(exc) not in NO_BUCKET or not self._create_bucket:
                    raise
                await self._make_bucket()

    def _open_client(self, endpoint_url: str | None, config: Config) -> AbstractAsyncContextManager[Any]:
        """Return a client of the selected driver. Only this method depends on the driver."""
        opened: AbstractAsyncContextManager[Any]
        match self._driver:
            case "aiobotocore":
                opened = get_session().create_client(
                    "s3", region_name=self._region, endpoint_url=endpoint_url, config=config
                )
            case "aioboto3":
                session = aioboto3.Session(region_name=self._region)
                opened = session.client("s3", endpoint_url=endpoint_url, config=config)
            case _:
                assert_never(self._driver)
        return opened

    async def _make_bucket(self) -> None:
        try:
            await self._client.create_bucket(Bucket=self._bucket)
        except ClientError as exc:
            if _code(exc) not in OURS_ALREADY:
                raise

    async def close(self) -> None:
        """See `BlobStore.close`."""
        await self._resources.aclose()
        self._client = self._reading = self._signing = None

    async def put(self, key: str, data: Buffer, content_type: str) -> None:
        """See `BlobStore.put`."""
        async with self._uploading:
            await self._put(key, data, content_type)

    async def create(self, key: str, data: Buffer, content_type: str) -> bool:
        """See `BlobStore.create`. Check for the key first: many stores ignore or refuse conditional writes."""
        with suppress(BlobMissing):
            async with self.open(key):
                return False
        try:
            await self._put(key, data, content_type, IfNoneMatch="*")
        except BlobsUnavailable as exc:
            code = _code(exc.__cause__) if isinstance(exc.__cause__, ClientError) else ""
            if code in THERE_ALREADY:
                return False
            if code not in NO_CONDITIONS:
                raise
            await self._put(key, data, content_type)
        return True

    async def _put(self, key: str, data: Buffer, content_type: str, **more: str) -> None:
        async with self._errors():
            await self._connected().put_object(
                Bucket=self._bucket,
                Key=self._prefix + key,
                Body=bytes(data),
                ContentType=content_type,
                **self._encryption,
                **more,
            )

    @asynccontextmanager
    async def open(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[OpenBlob]:
        """See `BlobStore.open`."""
        ranged = {} if (start, end) == (0, None) else {"Range": f"bytes={start}-{'' if end is None else end - 1}"}
        async with self._errors(key):
            self._connected()
            answer = await self._reading.get_object(Bucket=self._bucket, Key=self._prefix + key, **ranged)
        async with answer["Body"] as body:
            total = answer.get("ContentRange", f"/{answer['ContentLength']}").rpartition("/")[2]

            async def chunks() -> AsyncIterator[bytes]:
                async with self._errors(key):
                    async for chunk in body.content.iter_chunked(CHUNK_BYTES):
                        yield chunk

            yield OpenBlob(int(total), chunks())

    async def address(self, key: str, *, seconds: int) -> str | None:
        """See `BlobStore.address`."""
        async with self._errors():
            if self._signing is None:
                raise BlobsUnavailable("the media store is not open yet")
            signed = {"Bucket": self._bucket, "Key": self._prefix + key}
            address: str = await self._signing.generate_presigned_url("get_object", Params=signed, ExpiresIn=seconds)
            return address

    async def delete(self, key: str) -> None:
        """See `BlobStore.delete`."""
        async with self._errors():
            await self._connected().delete_object(Bucket=self._bucket, Key=self._prefix + key)

    async def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """See `BlobStore.list`. A page of a thousand keys is held at once."""
        async with self._errors():
            paginator = self._connected().get_paginator("list_objects_v2")
            pages = paginator.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix)
            async for page in pages:
                for found in page.get("Contents", ()):
                    yield BlobInfo(found["Key"].removeprefix(self._prefix), found["LastModified"])

    def _connected(self) -> Any:  # noqa: ANN401 - botocore makes its clients at run time
        if self._client is None:
            raise BlobsUnavailable("the media store is not open yet")
        return self._client

    @asynccontextmanager
    async def _errors(self, key: str = "") -> AsyncIterator[None]:
        """Translate exceptions of the driver into ours. Only done here."""
        try:
            yield
        except ClientError as exc:
            if key and _code(exc) in MISSING:
                raise BlobMissing(f"there is no blob {key}") from exc
            raise BlobsUnavailable(f"bucket {self._bucket}: {_code(exc)}") from exc
        except (BotoCoreError, OSError, TimeoutError) as exc:
            raise BlobsUnavailable(f"bucket {self._bucket} cannot be reached: {type(exc).__name__}") from exc


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
