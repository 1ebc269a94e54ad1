"""Sizes in bytes as people write them.

`pydantic.ByteSize` is not used: it ignores trailing text, as in `16MiB;32`.
"""

import re

_UNITS = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", start=1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", start=1)},
}
_SIZE = re.compile(r"(\d{1,30})\s*([A-Za-z]*)", re.ASCII)


def parse_byte_size(raw: object) -> object:
    """Turn `16MiB` into 16777216. `MB` is decimal, `MiB` binary, case does not matter.

    Other types than strings are returned unchanged, for pydantic to check.

    Raises:
        ValueError: a string that is not a size.
    """
    if not isinstance(raw, str):
        return raw
    found = _SIZE.fullmatch(raw.strip())
    unit = _UNITS.get(found[2].lower()) if found else None
    if found is None or unit is None:
        raise ValueError("must be a size in bytes such as 16777216, 16MiB or 64kB")
    return int(found[1]) * unit


def format_byte_size(size_bytes: int) -> str:
    """Format a size so that `parse_byte_size` reads it back: 16777216 as `16MiB`, 1000 as `1000`."""
    for unit, name in ((1024**4, "TiB"), (1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB")):
        if size_bytes and size_bytes % unit == 0:
            return f"{size_bytes // unit}{name}"
    return str(size_bytes)
