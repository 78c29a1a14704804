"""Landlock: which files a process may open from now on, it and whatever it starts. The kernel's own interface.

Landlock does not know of `chmod`, `utime` and their like, nor of files that are open already: the system call filter
does (`ingest.parsers.seccomp`). Source: linux/landlock.h and Documentation/userspace-api/landlock.rst.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from contextlib import suppress

from ingest.parsers.kernel import no_new_privileges, system_call

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same on every architecture
WANTS_VERSION = 1
PATH_BENEATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
TRUNCATE = 1 << 14
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
READ = READ_FILE | READ_DIR
RUN = READ | EXECUTE
OWN = READ | WRITE_FILE | TRUNCATE | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 12
"""All that a private folder needs: also removing, and making of folders, files, local sockets and links."""
ALL_BY_VERSION = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
NETWORK_SINCE, BIND_OR_CONNECT_TCP = 4, 0b11
SCOPES_SINCE, ABSTRACT_SOCKETS_AND_SIGNALS = 6, 0b11


def version() -> int:
    """Version of Landlock that this kernel offers; 0 for none."""
    with suppress(OSError):
        return system_call(CREATE_RULESET, None, 0, WANTS_VERSION)
    return 0


def restrict_files(*, read: Iterable[str], run: Iterable[str] = (), own: Iterable[str] = ()) -> int:
    """From now on only what is at or below these paths can be opened: to read, to run, or as one likes.

    Paths that do not exist are left out. Returns the version of Landlock that holds it.

    Raises:
        OSError: this kernel offers no Landlock.
    """
    available = version()
    handled = ALL_BY_VERSION[max(1, min(available, max(ALL_BY_VERSION)))]
    attributes = struct.pack("Q", handled)
    if available >= NETWORK_SINCE:
        attributes += struct.pack("Q", BIND_OR_CONNECT_TCP)
    if available >= SCOPES_SINCE:
        attributes += struct.pack("Q", ABSTRACT_SOCKETS_AND_SIGNALS)
    rules = system_call(CREATE_RULESET, ctypes.create_string_buffer(attributes, len(attributes)), len(attributes), 0)
    try:
        for paths, rights in ((read, READ), (run, RUN), (own, OWN)):
            for path in paths:
                _allow(rules, path, rights & handled)
        no_new_privileges()
        system_call(RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)
    return available


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # not there, or not for us to see; nothing is allowed then
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= OF_FILES
        system_call(ADD_RULE, rules, PATH_BENEATH, ctypes.create_string_buffer(struct.pack("=Qi", rights, place)), 0)
    finally:
        os.close(place)
