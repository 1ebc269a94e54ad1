"""Records as JSON lines. Every part of a run writes them, and the report is made of them."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any, TypeVar

Record = TypeVar("Record")


def as_line(record: Any) -> str:  # noqa: ANN401 - any dataclass
    """Return a dataclass as one line."""
    return json.dumps({"what": type(record).__name__, **asdict(record)}, ensure_ascii=False)


def read_lines(lines: Iterable[str], *kinds: type[Record]) -> Iterator[Record]:
    """Yield the records of these kinds. A last line that a crash cut off is skipped."""
    by_name = {kind.__name__: kind for kind in kinds}
    for line in lines:
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        kind = by_name.get(fields.pop("what"))
        if kind is not None:
            yield kind(**fields)
