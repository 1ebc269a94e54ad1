"""Every setting of the chat service: typed, bounded, documented. `python -m chat_service --help` prints this table."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import SettingsConfigDict
from redis.asyncio.connection import ConnectionPool, parse_url
from redis.exceptions import RedisError

from chat_service.bot.names import OWN_BOT_FORM, BuiltInBot, built_in
from chat_service.hours import OpeningHours
from chat_service.media.settings import SpeechSettings
from chat_service.setting_fields import BaseUrl, Seconds, Token
from chat_service.zones import ServedZones
from frameproto import DEFAULT_MAX_FRAME_BYTES, RequestKind
from servicekit.logs import LogFormat, LogLevel
from servicekit.settings import AccessSettings, ByteSize, HttpSettings
from servicekit.settings.passwords import with_password

KIB = 1024
MIB = 1024 * KIB
MAX_TEXT_BYTES = 4 * MIB  # request and reply stand in one MongoDB document, which may have 16 MiB

Port = Annotated[int, Field(ge=0, le=65_535)]
Hours = Annotated[OpeningHours, BeforeValidator(lambda raw: OpeningHours.parse(raw) if isinstance(raw, str) else raw)]
Globs = Annotated[ServedZones, BeforeValidator(lambda raw: ServedZones.parse(raw) if isinstance(raw, str) else raw)]


def _redis(secret: SecretStr) -> SecretStr:
    """Check what the Redis client would find out late, or pass over."""
    try:
        parts = urlsplit(secret.get_secret_value())
        database = parts.path.strip("/")
        sound = bool(parts.scheme in {"redis", "rediss"} and parts.hostname and parts.port != 0)
    except ValueError as exc:  # brackets without an end, a port that is no number
        raise ValueError(REDIS_FORM) from exc
    if not sound or not ((database.isascii() and database.isdigit()) or database == ""):
        raise ValueError(REDIS_FORM)
    _check_redis_options(secret.get_secret_value())
    return secret


def _check_redis_options(url: str) -> None:
    """Check what stands behind the question mark. Nothing of the address is told, which may hold a password."""
    try:
        options: dict[str, Any] = dict(parse_url(url))
        pool: Any = ConnectionPool.from_url(url)
        pool.make_connection()
    except (ValueError, TypeError, RedisError):
        raise ValueError("has an option behind its ? that there is not, or one with a wrong value") from None
    for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        file = options.get(name)
        if file is not None and not os.access(file, os.R_OK):
            raise ValueError(f"{name} names a file that cannot be read")


REDIS_FORM = "must be an address such as redis://host:6379/0, or rediss:// for TLS"
RedisUrl = Annotated[SecretStr, AfterValidator(_redis)]


class ChatSettings(AccessSettings, HttpSettings, SpeechSettings):
    """The settings of one chat pod. Limits named "cluster-wide" hold for all pods together."""

    model_config = SettingsConfigDict(env_prefix="CHAT_", arbitrary_types_allowed=True)

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 in a container, * for IPv6 as well")
    port: Port = Field(8000, description="port of /connect and the health checks; 0 picks a free one")
    metrics_port: Port = Field(9000, description="port of /metrics; 0 picks a free one")
    log_level: LogLevel = Field("info", description="least severity that is logged")
    log_format: LogFormat = Field(
        "auto", description="json for machines, console for people; auto: console on a terminal, else json"
    )

    redis_password: SecretStr | None = Field(
        None, description="password of the user in CHAT_REDIS_URL, where the address holds none"
    )
    redis_url: RedisUrl | None = Field(
        None, description="redis:// or rediss:// address of the limits; without it they hold for this process only"
    )
    history_url: BaseUrl = Field(
        AnyHttpUrl("http://127.0.0.1:8001"), description="where finished exchanges are delivered"
    )
    public_history_url: BaseUrl | None = Field(
        None, description="where clients reach history, if not at the address at which they reach chat"
    )
    web: bool = Field(default=True, description="serve the browser client at /")
    data_dir: Path = Field(Path("data/chat"), description="folder of the outbox; one process each")

    max_connections: int = Field(50, ge=1, le=10_000_000, description="connections at once, cluster-wide")
    max_connections_per_client: int = Field(5, ge=1, description="connections of one client id at once, cluster-wide")
    max_connections_per_pod: int = Field(
        0, ge=0, description="connections of one pod; a full pod is not ready; 0: no limit for a pod"
    )
    max_messages: int = Field(500, ge=1, le=10_000_000, description="messages in process at once, cluster-wide")
    max_waiting: int = Field(1000, ge=0, description="clients in the queue for a connection, cluster-wide")
    connect_wait_seconds: Seconds = Field(10, description="longest wait of a client in the queue")
    message_wait_seconds: Seconds = Field(
        5, description="longest wait of a message for a permit; then it is answered busy"
    )
    permits_prefix: str = Field(
        "permits",
        pattern=r"^[A-Za-z0-9_.:-]{1,200}$",
        description="prefix of the keys of the limits in Redis; pods with the same prefix share the limits",
    )
    lease_seconds: float = Field(
        15,
        ge=0.5,
        le=3600,
        description="lease: a dead pod's permits are free within 1.125 of it; a Redis outage of 3/4 of it closes "
        "connections",
    )

    window: int = Field(10, ge=1, le=1000, description="requests of one connection that may be unanswered at once")
    max_frame_bytes: ByteSize = Field(DEFAULT_MAX_FRAME_BYTES, ge=1024, description="largest frame accepted")
    max_text_bytes: ByteSize = Field(64 * KIB, ge=1, le=MAX_TEXT_BYTES, description="longest text accepted, as UTF-8")
    max_connection_bytes: ByteSize = Field(
        32 * MIB, ge=1024, description="held for one connection before reading stops"
    )
    max_pod_bytes: ByteSize = Field(512 * MIB, ge=1024, description="held for all connections before reading stops")
    first_message_seconds: Seconds = Field(
        60, description="time for the first readable message of a connection; then it is closed"
    )
    idle_seconds: Seconds = Field(
        600, description="silence with no message in process after which a connection is closed"
    )
    send_seconds: Seconds = Field(30, description="time for a client to take a reply; then its connection is closed")
    ping_seconds: Seconds = Field(20, description="how often the server pings an open connection")
    pong_seconds: Seconds = Field(
        20, description="time for a client to send anything after a ping; then its connection is aborted"
    )
    min_upload_bytes_per_second: int = Field(
        240, ge=0, le=1024 * MIB, description="least bytes a second of an arriving message, in every CHAT_PONG_SECONDS"
    )
    drain_seconds: Seconds = Field(25, description="budget of a shutdown: answers, closes, delivery of the outbox")
    drain_spread_seconds: float = Field(5, ge=0, description="a shutdown spreads its closes over at most this time")

    time_zones: Globs = Field(ServedZones(("*",)), description='served time zones as globs, e.g. "Europe/*,UTC,+0?:00"')
    hours_text: Hours = Field(
        OpeningHours(), description='when text is served in local time, e.g. "09:00-17:00"; empty: all day'
    )
    hours_voice: Hours = Field(OpeningHours(), description="when voice is served")
    hours_video: Hours = Field(OpeningHours(), description="when video is served")

    history_token: Token | None = Field(None, description="service token for history")
    context_token: Token | None = Field(
        None, description="token for reading history, with the scope context; CHAT_HISTORY_TOKEN without it"
    )
    history_seconds: Seconds = Field(
        2, description="time-out for reading history: the memory of a bot, or the answer to a message sent again"
    )

    bot: str = Field(
        BuiltInBot.SCRIPT.value, description=f"{', '.join(BuiltInBot)}, or a bot of your own: {OWN_BOT_FORM}"
    )
    bot_seconds: Seconds = Field(60, description="how long a bot may take for one reply")
    bot_turns: int = Field(100, ge=1, description="turns of a bot at once, in this pod; further ones wait")
    bot_max_reply_characters: int = Field(8000, ge=1, le=100_000, description="a longer reply of a bot is cut")
    bot_fallback: bool = Field(default=True, description="the script replies while the breaker of the bot is open")
    bot_breaker_failures: int = Field(5, ge=1, description="failures in a row that open the breaker of a bot")
    bot_breaker_seconds: Seconds = Field(
        30, description="time for which the breaker stays open before the bot is tried again"
    )
    llm_base_url: BaseUrl = Field(
        AnyHttpUrl("https://api.openai.com/v1"), description="CHAT_BOT=llm: an OpenAI-compatible API, with its /v1"
    )
    llm_model: str = Field("", description="CHAT_BOT=llm: the name of the model")
    llm_api_key: Token | None = Field(None, description="CHAT_BOT=llm: the key of the API; some servers need none")
    llm_api_key_file: Path | None = Field(None, description="file with the key of the API, read at the start")
    llm_prompt_file: Path | None = Field(None, description="file with the system prompt, UTF-8")
    llm_temperature: float | None = Field(None, ge=0, le=2, description="sampling temperature of the model")
    llm_reply_tokens: int | None = Field(None, ge=1, description="longest reply of the model, in tokens")
    llm_context_tokens: int = Field(
        4000, ge=100, description="tokens of the conversation in a request, counted as four bytes each"
    )
    llm_request_seconds: Seconds = Field(30, description="time-out for the next tokens of the model")
    llm_images: bool = Field(default=False, description="send the model a picture from each video")
    bot_url: BaseUrl | None = Field(None, description="CHAT_BOT=http: address to which turns are posted")
    bot_secret: Token | None = Field(None, description="CHAT_BOT=http: secret that signs requests")
    bot_script: Path | None = Field(
        None, description="TOML script of the built-in bot; without it, the included script"
    )
    bot_typing_seconds: float = Field(0, ge=0, le=60, description="pause before a reply leaves, as if the bot typed")
    media_processes: int = Field(2, ge=1, le=64, description="worker processes for voice and video")
    media_processes_per_client: int | None = Field(
        None, ge=1, description="worker processes that one client may use at once; all but one without it"
    )
    media_cpu_seconds: Seconds = Field(
        20, description="CPU time of one media job; a file that takes more is refused as media_too_complex"
    )
    media_job_seconds: Seconds = Field(
        60, description="a media job that takes longer is killed; more than media_cpu_seconds, for a busy machine"
    )
    media_max_seconds: Seconds = Field(120, description="longest voice note or video accepted")
    media_other_formats: bool = Field(
        default=True,
        description="also accept voice as M4A, AAC, Ogg, WAV, FLAC, WebM and video as QuickTime, WebM",
    )

    outbox_max_bytes: ByteSize = Field(
        1024 * MIB, ge=1024, description="largest size of the outbox; when it is full, messages are answered busy"
    )
    outbox_fsync: Literal["never", "always"] = Field(
        "never", description="always: exchanges survive a crash of the machine; never: only of the process"
    )
    delivery_seconds: Seconds = Field(30, description="time-out of a delivery; then it is tried again")

    @field_validator("redis_url")
    @classmethod
    def _with_its_password(cls, url: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        password: SecretStr | None = info.data.get("redis_password")
        return url if url is None or password is None else with_password(url, password)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.max_connection_bytes < self.max_frame_bytes:
            raise ValueError("CHAT_MAX_CONNECTION_BYTES must be at least CHAT_MAX_FRAME_BYTES")
        if self.media_job_seconds <= self.media_cpu_seconds:
            raise ValueError("CHAT_MEDIA_JOB_SECONDS must be more than CHAT_MEDIA_CPU_SECONDS")
        if self.outbox_max_bytes < 2 * self.max_frame_bytes:
            raise ValueError("CHAT_OUTBOX_MAX_BYTES must be at least twice CHAT_MAX_FRAME_BYTES")
        return self

    @model_validator(mode="after")
    def _bot_is_whole(self) -> Self:
        bot = built_in(self.bot)
        if bot is None and ":" not in self.bot:
            raise ValueError(f'CHAT_BOT: "{self.bot}" is no bot; use {", ".join(BuiltInBot)}, or {OWN_BOT_FORM}')
        if bot is not None and self.lacks_setting_of(bot):
            raise ValueError(f"CHAT_BOT={bot} needs {bot.needs}, {bot.needs_meaning}")
        if self.llm_api_key is not None and self.llm_api_key_file is not None:
            raise ValueError("CHAT_LLM_API_KEY and CHAT_LLM_API_KEY_FILE exclude each other")
        return self

    @model_validator(mode="after")
    def _can_deliver(self) -> Self:
        """Check that history, which asks for tokens where chat does, can be shown one."""
        if self.auth != "none" and self.history_token is None and not self.uses_own_history:
            raise ValueError(
                f"CHAT_AUTH={self.auth} needs CHAT_HISTORY_TOKEN, which is shown to history: a token with the scope "
                "ingest (`chat-client token --ingest` makes one)"
            )
        return self

    def lacks_setting_of(self, bot: BuiltInBot) -> bool:
        """Say whether the setting is missing without which this bot does not start."""
        return bool(bot.needs) and not getattr(self, bot.needs.removeprefix("CHAT_").lower())

    def hours(self, kind: RequestKind) -> OpeningHours:
        """Return when this kind of message is served. Each kind has a setting of its own."""
        hours: OpeningHours = getattr(self, f"hours_{kind.message_kind}")
        return hours

    @property
    def uses_own_history(self) -> bool:
        """Whether history runs in this process, which signs the tokens for it."""
        return False
