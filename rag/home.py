"""The home folder, where an installation keeps what is its own: whether this user can work in it."""

from __future__ import annotations

import os
import pwd
import shlex
import stat
from pathlib import Path

from rag.errors import Misconfigured


def refuse_closed(home: Path) -> None:
    """Returns where this user can work in `home`, or where nothing is there yet.

    Raises:
        Misconfigured: it is a file, or closed to this user; the message says whose it is and what to do.
    """
    home = home.absolute()
    for folder in (home, *home.parents):
        try:
            about = folder.stat()
        except PermissionError:
            continue  # a folder above is what is closed
        except OSError:
            return  # who makes it says why it cannot be
        if folder != home or not _is_open(home, about.st_mode):
            raise Misconfigured(_closed(home, folder, about.st_uid))
        return


def _is_open(home: Path, mode: int) -> bool:
    if not stat.S_ISDIR(mode):
        raise Misconfigured(f"the home folder {home} is no folder but a file; move it away, or set KUSTOS_HOME")
    return os.access(home, os.R_OK | os.W_OK | os.X_OK, effective_ids=True)


def _closed(home: Path, folder: Path, uid: int) -> str:
    owner, us = _name(uid), _name(os.geteuid())
    if uid == os.geteuid():
        return f"the home folder {home} is closed to {us}, whose it is; run: chmod 700 {shlex.quote(str(folder))}"
    given = f"give it to {us}: chown -R {us} {shlex.quote(str(home))}"
    instead = given if folder == home else "name another with KUSTOS_HOME"
    return (
        f"the home folder {home} cannot be opened by {us}, as {folder} belongs to {owner}; "
        f"run Kustos as {owner}, or {instead}"
    )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
