"""A real load balancer in front of several pods: Debian's haproxy where it is installed, none otherwise."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from devtools.ports import free_port

CONFIG = """\
global
    maxconn 4000

defaults
    mode http
    timeout connect 5s
    timeout check 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
    timeout http-request 10s
    option http-keep-alive
    option redispatch
    retries 2
"""

SERVICE = """
listen {name}
    bind 127.0.0.1:{port}
    balance roundrobin
    option httpchk GET /readyz
    default-server inter 200ms fall 2 rise 1
{servers}
"""


@contextmanager
def balancer(pods: Mapping[str, Sequence[int]], folder: Path) -> Iterator[dict[str, list[int]]]:
    """Put a balancer before the pods; yields the ports to use for each service.

    With haproxy that is one port for each service. Without it the pods' own ports are returned and clients spread
    themselves; a warning of the test run says so.
    """
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        print("\nno haproxy on this machine: clients connect to the pods directly")
        yield {name: list(ports) for name, ports in pods.items()}
        return
    ports = {name: free_port() for name in pods}
    config = folder / "haproxy.cfg"
    config.write_text(
        CONFIG
        + "".join(
            SERVICE.format(
                name=name,
                port=ports[name],
                servers="\n".join(f"    server {name}{n} 127.0.0.1:{port} check" for n, port in enumerate(pods[name])),
            )
            for name in pods
        )
    )
    with (folder / "haproxy.log").open("wb") as log:
        process = subprocess.Popen([program, "-W", "-db", "-f", str(config)], stdout=log, stderr=log, process_group=0)
    try:
        for port in ports.values():
            _wait_for(port, process)
        yield {name: [port] for name, port in ports.items()}
    finally:
        process.terminate()
        process.wait(60)


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"haproxy does not listen on {port}; exit code {process.poll()}")
