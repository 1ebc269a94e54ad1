"""What schemathesis must be told of this service: how batches are made and sent."""

from typing import Any

import schemathesis
from hypothesis import strategies as st

from frameproto.exchange import encode_batch, encode_exchange
from history_service.tokenizer import tokenize
from tests.support.exchanges import exchange

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=50)
RECORDS = st.one_of(TEXTS.map(lambda text: encode_exchange(exchange(text))), st.binary(max_size=50))

schemathesis.openapi.media_type("application/msgpack", st.lists(RECORDS, max_size=3).map(encode_batch))


@schemathesis.serializer("application/msgpack")
def as_it_is(_context: Any, value: Any) -> bytes:
    """Send bytes as bytes, and whatever else a broken batch may be as its text."""
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.hook
def filter_query(_context: Any, query: Any) -> bool:
    """Ask for something with a word in it: which characters are none is more than a schema can say."""
    asked = query.get("q") if isinstance(query, dict) else None
    return not isinstance(asked, str) or not asked or bool(tokenize(asked))
