"""Every setting of the history service: typed, bounded, documented. `python -m history_service --help` prints them."""

import re
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AnyHttpUrl, Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from history_service.blobs.s3 import S3Driver
from history_service.stores.mongo import MongoDriver, check_url
from servicekit.logs import LogFormat, LogLevel
from servicekit.settings import AccessSettings, ByteSize, HttpSettings, TokenSecret
from servicekit.settings.passwords import with_password

MIB = 1024 * 1024
FOLDER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Port = Annotated[int, Field(ge=0, le=65_535)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class HistorySettings(AccessSettings, HttpSettings):
    """The settings of one history pod."""

    model_config = SettingsConfigDict(env_prefix="HISTORY_")

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 in a container, * for IPv6 as well")
    port: Port = Field(8001, description="port of the HTTP interface and the health checks; 0 picks a free one")
    metrics_port: Port = Field(9001, description="port of /metrics; 0 picks a free one")
    log_level: LogLevel = Field("info", description="least severity that is logged")
    log_format: LogFormat = Field(
        "auto", description="json for machines, console for people; auto: console on a terminal, else json"
    )

    data_dir: Path = Field(Path("data/history"), description="folder of SQLite and of media, where these are used")
    mongodb_password: SecretStr | None = Field(
        None, description="password of the user in HISTORY_MONGODB_URL, where the address holds none"
    )
    mongodb_url: SecretStr | None = Field(None, description="mongodb:// address of the messages; SQLite without it")
    mongodb_driver: MongoDriver = Field("motor", description="driver for MongoDB; pymongo is the successor of motor")
    mongodb_database: str = Field("chatbot", min_length=1, description="name of the database")
    s3_driver: S3Driver = Field("aioboto3", description="driver for S3; aiobotocore is the base of aioboto3")
    s3_bucket: str | None = Field(None, description="bucket of the media; a folder without it")
    s3_prefix: str = Field(
        "",
        max_length=256,
        description="folder in the bucket for everything of this release, so that several can share one",
    )
    s3_endpoint_url: AnyHttpUrl | None = Field(None, description="address of the S3 store, when it is not AWS")
    s3_public_url: AnyHttpUrl | None = Field(
        None, description="address of the S3 store as clients reach it, for redirects"
    )
    s3_region: str | None = Field(None, description="region of the bucket; credentials are found as boto3 does")
    s3_create_bucket: bool = Field(False, description="create the bucket if it does not exist")
    s3_encryption: Literal["AES256", "aws:kms"] | None = Field(
        None, description="encryption that is requested of S3; the default of the bucket without it"
    )
    s3_kms_key_id: str | None = Field(None, min_length=1, description="key of aws:kms; the account's own without it")
    store_seconds: Seconds = Field(5, description="time-out for reaching a store")

    media_address_seconds: int = Field(300, ge=1, le=86_400, description="validity of a signed media address")
    media_address_secrets: tuple[TokenSecret, ...] = Field(
        (), description="secrets that sign media addresses, two while rotating; HISTORY_TOKEN_SECRETS without them"
    )
    media_redirect: bool = Field(False, description="redirect readers of media to S3, with presigned addresses")

    batch_seconds: Seconds = Field(30, description="time for a batch to arrive")
    upload_seconds: Seconds = Field(
        30, description="time for storing the media of a batch; deletions wait for at most this"
    )
    max_batches: int = Field(8, ge=1, le=10_000, description="batches that are stored at once; further ones wait")
    max_ingest_bytes: ByteSize = Field(
        128 * MIB,
        ge=1024,
        description="bytes of batches that are stored at once; ingest takes about three times this memory",
    )
    ingest_wait_seconds: Seconds = Field(1, description="longest wait of a batch; then it is answered 429")
    max_batch_bytes: ByteSize = Field(64 * MIB, ge=1024, description="largest batch of exchanges accepted")
    max_downloads: int = Field(64, ge=1, le=10_000, description="downloads of media at once; further ones wait")
    max_downloads_per_client: int = Field(16, ge=1, le=10_000, description="downloads of one client's media at once")
    download_wait_seconds: Seconds = Field(5, description="longest wait of a download; then it is answered 503")
    retention_days: float | None = Field(
        None, gt=0, le=36_500, description="retention of an exchange after its answer; unlimited without it"
    )
    orphan_hours: float = Field(24, ge=1, le=8760, description="age from which media without a message are swept")
    sweep_orphans: Literal["on", "off", "dry-run"] = Field(
        "on", description="whether media without a message are swept; dry-run: only counted and logged"
    )
    sweep_max_orphan_share: float = Field(
        0.1, ge=0, le=1, description="a sweep that finds a larger share of the media to be orphans deletes none"
    )
    sweep_max_expired_share: float = Field(
        0.5, ge=0, le=1, description="a sweep that finds a larger share of the exchanges to be too old deletes none"
    )
    sweep_free_expired: int = Field(
        1000, ge=0, description="a sweep deletes up to this many exchanges that are too old, whatever their share"
    )
    sweep_seconds: Seconds = Field(3600, description="interval between sweeps of expired exchanges and orphans")
    drain_seconds: Seconds = Field(25, description="time for requests in flight at a shutdown")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.max_ingest_bytes < self.max_batch_bytes:
            raise ValueError("HISTORY_MAX_INGEST_BYTES must be at least HISTORY_MAX_BATCH_BYTES")
        if self.auth == "jwt" and not self.address_secrets():
            raise ValueError("without HISTORY_TOKEN_SECRETS, HISTORY_AUTH=jwt needs HISTORY_MEDIA_ADDRESS_SECRETS")
        for name in (
            "s3_prefix",
            "s3_endpoint_url",
            "s3_public_url",
            "s3_region",
            "s3_create_bucket",
            "media_redirect",
            "s3_encryption",
        ):
            if getattr(self, name) and not self.s3_bucket:  # media would silently go to the folder
                raise ValueError(f"HISTORY_{name.upper()} needs HISTORY_S3_BUCKET")
        if self.s3_kms_key_id and self.s3_encryption != "aws:kms":
            raise ValueError("HISTORY_S3_KMS_KEY_ID needs HISTORY_S3_ENCRYPTION=aws:kms")
        return self

    def address_secrets(self) -> tuple[SecretStr, ...]:
        """Return the secrets that sign media addresses; none without access control."""
        return self.media_address_secrets or (self.token_secrets if self.auth == "jwt" else ())

    @field_validator("s3_prefix")
    @classmethod
    def _is_a_folder(cls, prefix: str) -> str:
        folder = prefix.removesuffix("/")
        if folder and not all(FOLDER_NAME.fullmatch(name) for name in folder.split("/")):
            raise ValueError("must be folder names of A-Z a-z 0-9 . _ - with slashes between them")
        return f"{folder}/" if folder else ""

    @field_validator("mongodb_url")
    @classmethod
    def _is_an_address(cls, url: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        password: SecretStr | None = info.data.get("mongodb_password")
        if url is not None and password is not None:
            url = with_password(url, password, needs_user=True)
        if url is not None:
            check_url(url.get_secret_value())
        return url
