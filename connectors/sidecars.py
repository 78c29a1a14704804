"""Rights from access files on a file system: which file governs, whether it may be trusted, and inheritance.

`RightsReader` is the seam where POSIX and Windows ACLs will be read; access files are its first implementation.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Container, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Protocol

from connectors import access_files
from connectors.base import AccessEntry
from connectors.names import component, folded
from rag.access.acl import Acl
from rag.errors import BadAccessFile

UNGOVERNED = AccessEntry("none", Acl.nobody(), "no access file governs it")

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder in mid-walk: its open descriptor, and what it held when it was read.

    Attributes:
        path: item-id form of its place under the root, "" for the root, else ending in "/".
        entries: status of every entry by name, links not followed.
        access_files: names of the access files in it, by the name they govern ("" for the folder itself).
        twins: access files whose document is there under a name that only looks the same, by that name, folded.
        strays: access files whose document is not there under any such name.
    """

    descriptor: int
    path: str
    entries: Mapping[str, os.stat_result]
    access_files: Mapping[str, Sequence[str]]
    twins: Mapping[str, str]
    strays: Sequence[str]

    @classmethod
    def of(
        cls, descriptor: int, path: str, entries: Mapping[str, os.stat_result], governed: Mapping[str, str]
    ) -> Folder:
        """`governed`: by name of each access file among the entries, what it governs."""
        governing: dict[str, list[str]] = {}
        for name, target in governed.items():
            governing.setdefault(target, []).append(name)
        documents = _documents(entries, governed) if any(governing) else set()
        orphans = {target: names[0] for target, names in governing.items() if target and target not in documents}
        lookalikes = {folded(name) for name in documents} if orphans else set()
        twins = {folded(target): name for target, name in orphans.items() if folded(target) in lookalikes}
        strays = tuple(name for target, name in orphans.items() if folded(target) not in lookalikes)
        return cls(descriptor, path, entries, governing, twins, strays)


class RightsReader(Protocol):
    """Tells which place governs folders and files, as a walk meets them from the root down.

    Never raises for rights that it cannot read: those become an entry of nobody with a problem.
    """

    def of_folder(self, folder: Folder, above: AccessEntry) -> AccessEntry:
        """The entry that governs everything in `folder`; `above` itself where the folder has no rights of its own."""

    def of_file(self, folder: Folder, name: str, item_id: str, above: AccessEntry) -> AccessEntry:
        """The entry that governs the file `name`; `above` itself where the file has no rights of its own."""


class Sidecars:
    """Rights from `_access.yaml` and `NAME.access.yaml`.

    A file counts only if it is a regular file with one name, owned by one of `trusted` and writable by nobody else:
    otherwise whoever may write a document could write its rights (IN-15). One whose document is not there, letter by
    letter, still restricts something: the document of a lookalike name, or else any file here that has no own rights.
    """

    def __init__(self, trusted: Set[int]) -> None:
        self._trusted = trusted

    def of_folder(self, folder: Folder, above: AccessEntry) -> AccessEntry:
        return self._entry(folder, "", f"folder:{folder.path[:-1] or '.'}", above)

    def of_file(self, folder: Folder, name: str, item_id: str, above: AccessEntry) -> AccessEntry:
        if folder.twins and (orphan := folder.twins.get(folded(name))):
            problem = (
                f"{folder.path}{component(orphan)} governs no file, but names this one in other letters (case or "
                f"Unicode form); call it {component(name)}{access_files.FILE_SUFFIX}, letter by letter, or delete it"
            )
            return AccessEntry(f"file:{item_id}", Acl.nobody(), item_id, problem)
        if folder.strays and name not in folder.access_files:
            return _bereft(folder)
        return self._entry(folder, name, f"file:{item_id}", above) if name in folder.access_files else above

    def _entry(self, folder: Folder, target: str, reference: str, above: AccessEntry) -> AccessEntry:
        names = folder.access_files.get(target)
        if not names:
            return above
        try:
            name = access_files.choose(target, names, folder.path)
            where = folder.path + component(name)
            own = access_files.parse(_read(folder.descriptor, name, where, self._trusted), where)
        except BadAccessFile as error:
            return AccessEntry(reference, Acl.nobody(), folder.path + component(names[0]), str(error))
        return _combined(reference, where, own, above)


def _documents(entries: Mapping[str, os.stat_result], governed: Container[str]) -> set[str]:
    return {name for name, status in entries.items() if stat.S_ISREG(status.st_mode) and name not in governed}


def _bereft(folder: Folder) -> AccessEntry:
    """For files without rights of their own beside a stray access file, because any of them may be its document."""
    where = folder.path[:-1] or "."
    strays = ", ".join(folder.path + component(name) for name in folder.strays)
    problem = (
        f"its files without an access file of their own are shown to nobody, because {strays} governs no file and may "
        "have been meant for any of them; rename it after its document, or delete it"
    )
    return AccessEntry(f"strays:{where}", Acl.nobody(), where, problem)


def _combined(reference: str, where: str, own: access_files.AccessFile, above: AccessEntry) -> AccessEntry:
    if not own.inherit:
        return AccessEntry(reference, own.over(Acl.nobody()), where)
    if above.problem is not None:
        # What cannot be read above may hold a denial, so the union with it is unknown too.
        problem = f"{where}: inherits from {above.origin}, which cannot be used"
        return AccessEntry(reference, Acl.nobody(), where, problem)
    origin = where if above is UNGOVERNED else f"{where}, then {above.origin}"
    return AccessEntry(reference, own.over(above.acl), origin)


def distrust(status: os.stat_result, trusted: Set[int]) -> str | None:
    """Why a file with this status must not decide about rights; None where it may."""
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    if status.st_uid not in trusted:
        return f"owned by user {status.st_uid}; must be owned by root, the service, or the owner of the source's root"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "writable by its group or by others; take that away with chmod go-w"
    if status.st_nlink != 1:
        return "has more than one name (hard link), so it may have been written for another folder"
    return None


def _read(descriptor: int, name: str, where: str, trusted: Set[int]) -> bytes:
    try:
        file = os.open(name, _OPEN, dir_fd=descriptor)
    except OSError as error:
        raise BadAccessFile(f"{where}: cannot be opened as a plain file: {error.strerror}") from error
    try:
        return _read_trusted(file, where, trusted)
    except OSError as error:
        raise BadAccessFile(f"{where}: cannot be read: {error.strerror}") from error
    finally:
        os.close(file)


def _read_trusted(file: int, where: str, trusted: Set[int]) -> bytes:
    before = os.fstat(file)
    if reason := distrust(before, trusted):
        raise BadAccessFile(f"{where}: {reason}")
    data = os.read(file, access_files.MAX_BYTES + 1)
    is_short = len(data) < min(before.st_size, access_files.MAX_BYTES + 1)
    if is_short or state(os.fstat(file)) != state(before):
        raise BadAccessFile(f"{where}: changed while it was read; the next listing reads it again")
    return data


def state(status: os.stat_result) -> tuple[int, ...]:
    """Differs whenever an access file may have changed or been replaced."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
