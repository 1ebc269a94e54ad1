"""What schemathesis must be told of this service: how batches are made and sent."""

from typing import Any

import schemathesis
from hypothesis import strategies as st

from frameproto.exchange import encode_batch, encode_exchange
from tests.support.exchanges import exchange

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=50)
RECORDS = st.one_of(TEXTS.map(lambda text: encode_exchange(exchange(text))), st.binary(max_size=50))

schemathesis.openapi.media_type("application/msgpack", st.lists(RECORDS, max_size=3).map(encode_batch))


@schemathesis.serializer("application/msgpack")
def as_it_is(_context: Any, value: Any) -> bytes:
    """Send bytes as bytes, and whatever else a broken batch may be as its text."""
    return value if isinstance(value, bytes) else str(value).encode()
