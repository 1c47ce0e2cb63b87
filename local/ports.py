"""Free TCP ports on the loopback, chosen so that a server can come back to its own."""

from __future__ import annotations

import os
import random
import socket
import threading

HOST = "127.0.0.1"

# Below the range from which systems take the source ports of outgoing connections (32768 on
# Linux, 49152 on macOS). A port from that range may be taken by any client while its server is
# down, even by a client that is trying to reach this very server.
_USUAL = "18000-32000"

_given: set[int] = set()
_lock = threading.Lock()


def _range() -> range:
    """Where ports are taken from: ARGOSY_LOCAL_PORTS (`18000-25000`), as it is now.

    It is for several stacks that start and stop at once: none takes a port whose server of
    another one is only down for a while.
    """
    return range(*map(int, os.environ.get("ARGOSY_LOCAL_PORTS", _USUAL).split("-")))


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def take() -> int:
    """A free port that this process has not given to anybody before."""
    with _lock:
        ports = _range()
        for port in random.sample(ports, len(ports)):
            if port not in _given and is_free(port):
                _given.add(port)
                return port
    raise OSError(f"no free port on {HOST} between {ports.start} and {ports.stop}")
