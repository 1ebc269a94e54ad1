"""Free ports on loopback."""

import random
import socket

# Below the ports that the system itself hands out, for outgoing connections too, and below those of Kubernetes nodes.
PORTS = range(10_000, 30_000)
TRIES = 100


def free_port() -> int:
    """Return a port that was free a moment ago; for programs that cannot be told to choose one themselves."""
    for port in random.sample(PORTS, TRIES):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"none of {TRIES} ports is free")
