"""A view of the machine of one's own: no network, nobody's shared memory, a file system for what is temporary."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path

from ingest.parsers.kernel import call, system_call

NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_NETWORK = 0x00020000, 0x08000000, 0x10000000, 0x40000000  # linux/sched.h
RECURSIVE, PRIVATE = 0x4000, 1 << 18  # linux/mount.h
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, READ_ONLY = 442, -100, 0x8000, 1  # since Linux 5.12
NO_SUID, NO_DEVICES, NO_EXECUTION = 0x2, 0x4, 0x8
MAX_FILES = 4096
CAPABILITY_VERSION = 0x20080522  # linux/capability.h, _LINUX_CAPABILITY_VERSION_3


def leave_network() -> bool:
    """Whether this process is alone now, as user of a namespace of its own, in a network without any interface.

    Containers and some distributions forbid that to unprivileged processes.
    """
    if sys.platform != "linux":
        return False
    user, group = os.geteuid(), os.getegid()
    try:
        call("unshare", NEW_USER | NEW_NETWORK | NEW_MOUNTS | NEW_IPC)
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
    except OSError:
        return False
    return True


def write_protect() -> bool:
    """Whether every file system is read-only now for this process; devices and what is mounted later are not."""
    attributes = struct.pack("4Q", READ_ONLY, 0, 0, 0)
    try:
        call("mount", None, b"/", None, ctypes.c_ulong(RECURSIVE | PRIVATE), None)
        system_call(MOUNT_SETATTR, AT_FDCWD, b"/", AT_RECURSIVE, attributes, len(attributes))
    except OSError:
        return False
    return True


def mount_own(folder: str, max_bytes: int) -> bool:
    """Whether `folder` is now a file system in memory of `max_bytes`: seen by nobody else, gone with this process."""
    options = f"size={max_bytes},nr_inodes={MAX_FILES},mode=700".encode()
    try:
        flags = ctypes.c_ulong(NO_SUID | NO_DEVICES | NO_EXECUTION)
        call("mount", b"tmpfs", os.fsencode(folder), b"tmpfs", flags, options)
    except OSError:
        return False
    return True


def drop_capabilities() -> bool:
    """Whether this process has no capability left, be it the machine's or those of its own namespace."""
    try:
        call("capset", struct.pack("Ii", CAPABILITY_VERSION, 0), bytes(24))
    except OSError:
        return False
    return True
