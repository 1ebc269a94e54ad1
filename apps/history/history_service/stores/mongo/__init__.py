"""Messages in MongoDB. The only package that knows which driver that takes, see ADR 0004.

One document per exchange, `_id` the exchange id, so that handing one in again is a duplicate key and nothing else.
Times are microseconds, as they came over the wire. Every query names the client, which is the sharding key, as far as
the client is known; docs/scaling.md tells of the others.
"""

from history_service.stores.mongo.connection import check_url
from history_service.stores.mongo.uploads import Uploads

__all__ = ["MongoStore", "check_url"]


class MongoStore(Uploads):
    """The message store in a MongoDB database.

    Args:
        url: how to reach it, `mongodb://` or `mongodb+srv://`, with credentials and TLS as it says.
        database: the name of the database.
        wait_seconds: how long to look for a server, or to wait for an answer.
    """
