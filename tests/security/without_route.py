"""Runs a command where the network ends at the loopback device, and counts what wanted to go further.

    unshare --net python -m tests.security.without_route COUNTS COMMAND...

Writes to the file COUNTS how many packets and connections the kernel had no route for, in this namespace, whichever
process or library asked. Ends with the command's exit status.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import subprocess
import sys
from pathlib import Path

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1  # linux/sockios.h, linux/if.h


def main() -> int:
    counts, *command = sys.argv[1:]
    _loopback_up()
    status = subprocess.run(command, check=False).returncode
    Path(counts).write_text(str(no_routes()))
    return status


def no_routes() -> int:
    """IPv4 and IPv6 together, since the namespace began."""
    names, values = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Ip:")]
    found = int(dict(zip(names, values, strict=True))["OutNoRoutes"])
    six = Path("/proc/net/snmp6")
    if six.exists():
        found += sum(int(line.split()[1]) for line in six.read_text().splitlines() if line.startswith("Ip6OutNoRoutes"))
    return found


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        (_, flags) = struct.unpack("16sh14x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


if __name__ == "__main__":
    sys.exit(main())
