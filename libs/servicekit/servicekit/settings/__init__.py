"""Settings of a service: environment variables, typed, bounded and explained.

A service declares one subclass of `ServiceSettings` with its prefix, and its program calls `load` once. `--help` lists
the variables. Each wrong value is reported on one line.
"""

from servicekit.settings.access import AccessSettings, TokenSecret
from servicekit.settings.base import ByteSize, ServiceSettings
from servicekit.settings.http import HttpSettings
from servicekit.settings.load import EXIT_USAGE, load, load_all

__all__ = [
    "EXIT_USAGE",
    "AccessSettings",
    "ByteSize",
    "HttpSettings",
    "ServiceSettings",
    "TokenSecret",
    "load",
    "load_all",
]
