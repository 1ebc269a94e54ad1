"""A real S3 server: OpenStack Swift with its S3 interface.

It checks signatures, ranges and multipart uploads as AWS does. Four processes, with data in a folder whose
file system must know extended attributes.
"""

import getpass
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from devtools.ports import free_port
from devtools.servers import in_environment, server, wait_until

PIPELINE = (
    "catch_errors gatekeeper healthcheck cache listing_formats bulk s3api tempauth copy slo dlo versioned_writes"
    " symlink proxy-server"
)
STORAGE = ("account", "container", "object")
FILTERS = [name for name in PIPELINE.split() if name not in {"proxy-server", "tempauth", "s3api", "cache"}]


@dataclass(frozen=True)
class S3:
    """How to reach an S3 store."""

    endpoint_url: str
    access_key: str
    secret_key: str

    @property
    def environment(self) -> dict[str, str]:
        """The credentials as boto3 finds them."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@contextmanager
def run_swift(folder: Path, port: int | None = None, *, bind: str = "127.0.0.1") -> Iterator[S3]:
    """Run one; yields how to reach it. Only its S3 interface listens on other addresses than loopback, if any does."""
    etc = folder / "swift"
    (folder / "devices" / "d1").mkdir(parents=True, exist_ok=True)
    etc.mkdir(exist_ok=True)
    ports = {name: free_port() for name in STORAGE}
    ports["proxy"] = port or free_port()
    (etc / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = chatbot\n")
    for name in STORAGE:
        (etc / f"{name}-server.conf").write_text(_storage(name, ports[name], etc, folder / "devices"))
    _make_rings(etc, {name: ports[name] for name in STORAGE})
    (etc / "proxy-server.conf").write_text(_proxy(ports["proxy"], etc, bind))
    processes: list[subprocess.Popen[bytes]] = []
    with ExitStack() as running:
        for name in ports:
            program = in_environment(f"bin/swift-{name}-server")
            command: list[str | Path] = [
                in_environment("bin/python"),
                "-W",
                "ignore",
                program,
                etc / f"{name}-server.conf",
            ]
            env = {"SWIFT_CONF_DIR": str(etc), "EVENTLET_NO_GREENDNS": "yes"}
            processes.append(running.enter_context(server(command, folder / f"{name}.log", lambda: True, env=env)))
        wait_until(
            lambda: all(_listens(at) for at in ports.values()),
            lambda: all(process.poll() is None for process in processes),
            "Swift does not start",
            folder / "proxy.log",
        )
        yield S3(f"http://127.0.0.1:{ports['proxy']}", "test:tester", "testing")


def _storage(name: str, port: int, etc: Path, devices: Path) -> str:
    return f"""\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {getpass.getuser()}
swift_dir = {etc}
devices = {devices}
mount_check = false
fallocate_reserve = 0
log_level = ERROR

[pipeline:main]
pipeline = {name}-server

[app:{name}-server]
use = egg:swift#{name}
"""


def _proxy(port: int, etc: Path, bind: str) -> str:
    plain = "".join(f"[filter:{name}]\nuse = egg:swift#{name}\n\n" for name in FILTERS)
    return f"""\
[DEFAULT]
bind_ip = {bind}
bind_port = {port}
workers = 0
user = {getpass.getuser()}
swift_dir = {etc}
log_level = ERROR
client_timeout = 300

[pipeline:main]
pipeline = {PIPELINE}

[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
node_timeout = 60
conn_timeout = 20
# A reader that stalls is no fault of the one disk, which Swift would else leave alone for a minute.
error_suppression_limit = 1000000

[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
error_suppression_limit = 0

[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin

[filter:s3api]
use = egg:swift#s3api
location = us-east-1
s3_acl = no

{plain}"""


def _make_rings(etc: Path, ports: dict[str, int]) -> None:
    """Say where each kind of data is: all of it on the one device."""
    program = """
import sys
from swift.common.ring import RingBuilder
for ring in sys.argv[2:]:
    name, port = ring.split(":")
    builder = RingBuilder(8, 1, 1)
    builder.add_dev({"region": 1, "zone": 1, "weight": 1, "ip": "127.0.0.1", "port": int(port), "device": "d1"})
    builder.rebalance()
    builder.get_ring().save(f"{sys.argv[1]}/{name}.ring.gz")
"""
    rings = [f"{name}:{ports[name]}" for name in STORAGE]
    command = [str(in_environment("bin/python")), "-W", "ignore", "-c", program, str(etc), *rings]
    subprocess.run(command, check=True, capture_output=True, cwd=etc)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
    except OSError:
        return False
    return True
