"""The settings of HTTP connections, the same in every service."""

from pydantic import Field

from servicekit.http_pace import HttpLimits
from servicekit.settings.base import ByteSize, ServiceSettings


class HttpSettings(ServiceSettings):
    """What a peer may do before and after it has asked for something."""

    http_max_connections: int | None = Field(
        None,
        ge=1,
        description="connections of the process at once; what its limit of file descriptors leaves without it",
    )
    http_head_bytes: ByteSize = Field(64 * 1024, ge=1024, le=1024 * 1024, description="largest head of a request")
    http_head_seconds: float = Field(20, gt=0, le=3600, description="how long it may take to arrive")
    http_body_seconds: float = Field(
        60, gt=0, le=86_400, description="how long the body of a request may take to arrive"
    )
    http_idle_seconds: float = Field(
        5,
        gt=0,
        le=86_400,
        description="how long a connection is kept without a request, or for a body that is not wanted",
    )
    http_stall_seconds: float = Field(
        10, gt=0, le=3600, description="a peer is cut that is below the least rate for this long"
    )
    http_min_bytes_per_second: int = Field(
        2048, ge=1, le=1024 * 1024, description="the least rate of a body that arrives, and of an answer that is taken"
    )

    def http_limits(self) -> HttpLimits:
        """Return them as a listener takes them."""
        return HttpLimits(
            max_head_bytes=self.http_head_bytes,
            head_seconds=self.http_head_seconds,
            body_seconds=self.http_body_seconds,
            idle_seconds=self.http_idle_seconds,
            stall_seconds=self.http_stall_seconds,
            min_bytes_per_second=self.http_min_bytes_per_second,
        )
