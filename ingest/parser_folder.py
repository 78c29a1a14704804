"""The private folder of a parser process, as its parent sees it: whoever fills it is not to be trusted.

A child can nest folders deeper than any path reaches, and make some that even their owner cannot list. So nothing here
recurses, and nothing follows what is found further than a descriptor goes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import tempfile
from contextlib import suppress
from secrets import token_hex

from ingest.parsers.namespaces import MAX_FILES

MAX_LEVELS = 32
OPENING = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NAME = re.compile(r"kustos-parser-\d+-\w+")
"""With the number of the process that made it, for people; who it belongs to is said by a lock."""
OUR_WANT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Failures that are this process's own, whatever is in the folder."""
ATTEMPTS = 10


class ParserFolder:
    """A new, private folder. Its maker holds it locked, so that nobody sweeps it away while this process lives.

    Raises:
        OSError: none can be made.
    """

    def __init__(self) -> None:
        for _ in range(ATTEMPTS):
            self.path = tempfile.mkdtemp(prefix=f"kustos-parser-{os.getpid()}-")
            self._descriptor = _locked(self.path)
            if self._descriptor >= 0:
                return
        raise OSError(errno.EBUSY, "folders for parsers are swept away as soon as they are made")

    def overflows(self, max_bytes: int) -> bool:
        """Whether it holds more than it may, be it bytes, files or levels, or what cannot be looked at.

        Never where it is a file system of the child's own, which has a size of its own.

        Raises:
            OSError: this process is short of what it takes to look.
        """
        size = files = 0
        waiting = [(self.path, 0)]
        while waiting:
            place, level = waiting.pop()
            try:
                with os.scandir(place) as entries:
                    for entry in entries:
                        files += 1
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append((entry.path, level + 1))
                        else:
                            size += _blocks(entry)
                        if size > max_bytes or files > MAX_FILES or level > MAX_LEVELS:
                            return True
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno in OUR_WANT:
                    raise
                return True
        return False

    def remove(self) -> None:
        """Removes it with all that is in it. Safe to call twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            _remove(self.path, descriptor)


def sweep() -> None:
    """Removes folders whose maker is gone, killed for instance: those of this user that nobody holds locked."""
    with suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if NAME.fullmatch(entry.name):
                _sweep(entry.path)


def _locked(path: str) -> int:
    """Descriptor of a folder that is ours now; -1 where another process swept it before it could be locked."""
    try:
        descriptor = os.open(path, OPENING)
    except FileNotFoundError:
        return -1
    except OSError:
        with suppress(OSError):
            os.rmdir(path)
        raise
    try:
        with suppress(FileNotFoundError):
            _lock(descriptor)
            if os.path.samestat(os.lstat(path), os.fstat(descriptor)):
                return descriptor
    except BlockingIOError:
        pass
    except OSError:  # this file system knows no locks, so nobody sweeps here
        return descriptor
    os.close(descriptor)
    return -1


def _lock(descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _blocks(entry: os.DirEntry[str]) -> int:
    with suppress(FileNotFoundError):
        return entry.stat(follow_symlinks=False).st_blocks * 512
    return 0


def _sweep(path: str) -> None:
    with suppress(OSError):
        descriptor = os.open(path, OPENING)
        try:
            if os.fstat(descriptor).st_uid != os.geteuid():
                raise PermissionError
            _lock(descriptor)
        except OSError:
            os.close(descriptor)
        else:
            _remove(path, descriptor)


def _remove(path: str, descriptor: int) -> None:
    """Empties the open folder and removes it. What of it resists stays."""
    try:
        with suppress(OSError):
            os.rmdir(path)  # most are empty, and this takes no descriptor, of which there may be none left
            return
        _empty(descriptor)
        with suppress(OSError):
            os.rmdir(path)
    finally:
        os.close(descriptor)


def _empty(top: int) -> None:
    """Removes what is in an open folder. Folders in folders are moved up first, so depth does not matter."""
    mark, moved = token_hex(16), 0  # names that nobody inside could take before
    waiting = _cleared(top)
    while waiting:
        name = waiting.pop()
        with suppress(OSError):
            _make_ours(name, top)
            inner = os.open(name, OPENING, dir_fd=top)
            try:
                for each in _cleared(inner):
                    moved += 1
                    with suppress(OSError):
                        _make_ours(each, inner)  # moving a folder takes the right to write in it
                        os.rename(each, f"{mark}{moved}", src_dir_fd=inner, dst_dir_fd=top)
                        waiting.append(f"{mark}{moved}")
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=top)


def _make_ours(name: str, folder: int) -> None:
    """Gives the rights on a folder back to its owner; never on what a link leads to."""
    descriptor = os.open(name, os.O_PATH | OPENING, dir_fd=folder)
    try:
        os.chmod(f"/proc/self/fd/{descriptor}", 0o700)
    finally:
        os.close(descriptor)


def _cleared(folder: int) -> list[str]:
    """Removes everything from an open folder but folders, whose names come back."""
    folders = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in list(entries):
            with suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                else:
                    os.unlink(entry.name, dir_fd=folder)
    return folders
