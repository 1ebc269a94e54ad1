"""A real MongoDB: the genuine mongod as a replica set of one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from devtools.ports import free_port
from devtools.servers import in_environment, server, wait_until


@contextmanager
def run_mongod(folder: Path, port: int | None = None, *, replica_set: bool = True) -> Iterator[str]:
    """Run one on loopback, with its data in a folder; yields its address."""
    port = port or free_port()
    url = f"mongodb://127.0.0.1:{port}/?directConnection=true"
    data = folder / "mongod"
    data.mkdir(exist_ok=True)
    log = folder / "mongod.log"
    options = f"""
        --dbpath {data} --port {port} --bind_ip 127.0.0.1 --nounixsocket
        --wiredTigerCacheSizeGB 0.25 --networkMessageCompressors disabled
        --setParameter diagnosticDataCollectionEnabled=false --setParameter ttlMonitorSleepSecs=1
        --wiredTigerEngineConfigString log=(prealloc=false,file_max=10MB)
    """.split()
    options += ["--replSet", "rs0", "--oplogSize", "64"] if replica_set else []
    binary = in_environment("lib/python3*/site-packages/fiftyone/db/bin/mongod")
    client: MongoClient[dict[str, Any]] = MongoClient(url, serverSelectionTimeoutMS=200)
    with client:

        def answers() -> bool:
            try:
                return bool(client.admin.command("ping"))
            except PyMongoError:
                return False

        def is_primary() -> bool:
            try:
                return bool(client.admin.command("hello")["isWritablePrimary"])
            except PyMongoError:
                return False

        with server([binary, *options], log, answers):
            members = [{"_id": 0, "host": f"127.0.0.1:{port}"}]
            try:
                if replica_set:
                    client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
            except OperationFailure as exc:
                if exc.code != 23:  # already initiated, by an earlier run on this folder
                    raise
            wait_until(is_primary, lambda: True, "mongod does not become primary", log)
            yield url
