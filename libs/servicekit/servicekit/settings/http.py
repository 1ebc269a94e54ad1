"""The settings of HTTP connections, the same in every service."""

from pydantic import Field

from servicekit.http_pace import HttpLimits
from servicekit.settings.base import ByteSize, ServiceSettings


class HttpSettings(ServiceSettings):
    """Limits of HTTP connections."""

    http_max_connections: int | None = Field(
        None,
        ge=1,
        description="HTTP connections of the process at once; derived from its file descriptor limit without it",
    )
    http_head_bytes: ByteSize = Field(64 * 1024, ge=1024, le=1024 * 1024, description="largest request head")
    http_head_seconds: float = Field(20, gt=0, le=3600, description="time for a request head to arrive")
    http_body_seconds: float = Field(60, gt=0, le=86_400, description="time for a request body to arrive")
    http_idle_seconds: float = Field(
        5,
        gt=0,
        le=86_400,
        description="time for which a connection is kept without a request, or to discard an unwanted body",
    )
    http_stall_seconds: float = Field(
        10, gt=0, le=3600, description="a connection that is slower than the least rate for this long is cut"
    )
    http_min_bytes_per_second: int = Field(
        2048, ge=1, le=1024 * 1024, description="least rate of a body that arrives, and of a response that is sent"
    )

    def http_limits(self) -> HttpLimits:
        """Return the limits for a listener."""
        return HttpLimits(
            max_head_bytes=self.http_head_bytes,
            head_seconds=self.http_head_seconds,
            body_seconds=self.http_body_seconds,
            idle_seconds=self.http_idle_seconds,
            stall_seconds=self.http_stall_seconds,
            min_bytes_per_second=self.http_min_bytes_per_second,
        )
