"""Messages in MongoDB. Only this package depends on the driver (ADR 0004)."""

from history_service.stores.mongo.drivers import MongoDriver
from history_service.stores.mongo.store import MongoStore, check_url

__all__ = ["MongoDriver", "MongoStore", "check_url"]
