"""The file-system connector: a folder tree with access files becomes a listing.

Containment is by descriptor, never by comparing paths: every folder is opened relative to the open descriptor of the
one above, with O_NOFOLLOW. So neither a link nor a swap of names leads out of the root, and the rights that apply are
those of the folders through which a file was really reached. Only regular files are documents.

* Item id: the path under the root (`connectors.names`). A moved file is a new document in this release; identity by
  inode comes with the reader of POSIX and Windows ACLs, which takes the place of `rights`.
* A file with several names (hard links) goes to nobody: another name may lie outside the root or under other rights.
* The access files of a folder are looked at before anything else in it and again after everything below it. If they are
  the same, rights and contents are of one moment; if not, everything there goes to nobody until the next listing.
* A folder that cannot be listed whole is `Listing.unavailable`: known documents in it are kept and shown to nobody.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from watchfiles._rust_notify import RustNotify

from connectors import access_files
from connectors.base import AccessEntry, Item, ItemChanged, ItemGone, Listing, Problem, Sink
from connectors.names import component, components, displayed, is_ignored, quoted, uri
from connectors.sidecars import UNGOVERNED, Folder, RightsReader, Sidecars, state
from rag.access.acl import Acl
from rag.errors import DocumentRefused, RefusalReason, SourceUnavailable

MARKER = ".kustos-source"
MAX_DEPTH = 100
"""Folders inside folders; each level of a walk holds one descriptor."""

HARD_LINKED = AccessEntry("hard-linked", Acl.nobody(), "a file with several names (hard links) is shown to nobody")

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_SUBFOLDER = _FOLDER | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_READ_BYTES = 1 << 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_GONE = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP))
_SOURCE_DOWN = frozenset(
    (
        *(errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH),
        *(errno.ENODEV, errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    )
)
_DEBOUNCE_MS = 10_000  # longest wait for a burst of changes to end
_QUIET_MS = 500  # a burst has ended when nothing changed for so long
_POLL_MS = 10_000  # between two looks at every file, where changes raise no events

RightsOf = Callable[[frozenset[int]], RightsReader]
"""Makes the reader of rights, given the user ids whose files may decide about rights."""


class FilesystemConnector:
    """Documents in a folder tree, see the module. Implements `connectors.base.Connector`.

    Args:
        root: the folder; trusted configuration, so links in this path itself are followed.
        max_bytes: larger files are refused when fetched.
        cross_mounts: also walk file systems that are mounted below the root.
        poll: watch by polling, for network shares whose changes raise no events.
    """

    def __init__(
        self,
        source: str,
        root: Path,
        *,
        max_bytes: int,
        rights: RightsOf = Sidecars,
        cross_mounts: bool = False,
        poll: bool = False,
    ) -> None:
        self._source = source
        self._root = root
        self._max_bytes = max_bytes
        self._rights = rights
        self._cross_mounts = cross_mounts
        self._poll = poll

    @property
    def source(self) -> str:
        return self._source

    def list(self, cursor: str = "") -> Listing:
        with self._open_root() as root:
            status = os.fstat(root)
            trusted = frozenset((0, os.geteuid(), status.st_uid))
            walk = _Walk(self._source, self._rights(trusted), None if self._cross_mounts else status.st_dev)
            marker = _marker(root)
            walk.folder(root, "", UNGOVERNED, 0)
        if "" in walk.unavailable:
            raise SourceUnavailable(f"source {self._source}: {walk.access['folder:.'].problem}")
        self._check_same_source(_Cursor.parse(cursor), marker, walk)
        return walk.listing(_Cursor(len(walk.items), marker))

    def _check_same_source(self, before: _Cursor, marker: str, walk: _Walk) -> None:
        if before.marker and marker != before.marker:
            raise SourceUnavailable(
                f"source {self._source}: {self._root / MARKER} is missing or another one than before; is it mounted?"
            )
        if before.items and not marker and not walk.items and not walk.unavailable:
            raise SourceUnavailable(
                f"source {self._source}: {self._root} is empty where {before.items} documents were; is it mounted? "
                f"If it is meant to be empty, put a file called {MARKER} into it"
            )

    def fetch(self, item: Item, into: Sink) -> None:
        with self._open_root() as root:
            try:
                with _opened(root, components(item.item_id)) as file:
                    self._copy(file, item, into)
            except ValueError as error:
                raise ItemGone(str(error)) from error
            except OSError as error:
                raise self._translated(error, item) from error

    def _copy(self, file: int, item: Item, into: Sink) -> None:
        _check_unchanged(file, item)
        if os.fstat(file).st_size > self._max_bytes:
            raise self._too_large(item)
        copied = 0
        while piece := os.read(file, _READ_BYTES):
            copied += len(piece)
            if copied > self._max_bytes:
                raise self._too_large(item)
            into.write(piece)
        _check_unchanged(file, item)

    def _too_large(self, item: Item) -> DocumentRefused:
        return DocumentRefused(RefusalReason.TOO_LARGE, f"{item.item_id} has more than {self._max_bytes:,} bytes")

    def _translated(self, error: OSError, item: Item) -> Exception:
        if error.errno in _GONE:
            return ItemGone(f"{item.item_id} is not there any more")
        if error.errno in _SOURCE_DOWN:
            return SourceUnavailable(f"source {self._source}: {error.strerror}")
        return DocumentRefused(RefusalReason.UNREADABLE, f"{item.item_id}: {error.strerror}")

    def watch(self, stop: threading.Event, interval_s: float) -> Iterator[None]:
        while not stop.is_set():
            folders = self._folders()
            try:
                with self._watches(folders) as watches:
                    yield  # no event tells of what changed before, and those of earlier watches are gone with them
                    while self._folders() == folders and _changed(watches, stop, interval_s):
                        yield
            except (OSError, RuntimeError, ValueError) as error:  # ValueError: a root whose name is not UTF-8
                if isinstance(error, FileNotFoundError) and self._folders() != folders:
                    continue  # a folder vanished before it was watched
                raise SourceUnavailable(f"source {self._source}: {self._root} cannot be watched: {error}") from error

    def _watches(self, folders: Sequence[str]) -> RustNotify:
        """Watches that collect events from now on.

        Folder by folder, because a recursive watch follows links: one link to "/" would watch the whole machine.
        """
        return RustNotify(
            list(folders),
            debug=False,
            force_polling=self._poll,
            poll_delay_ms=_POLL_MS,
            recursive=False,
            ignore_permission_denied=True,
        )

    def _folders(self) -> Sequence[str]:
        """Folders to watch. Those whose names are not UTF-8 cannot be, and wait for the interval."""
        found = []
        for path, names, _ in os.walk(self._root, followlinks=False):
            found.append(path)
            names[:] = sorted(name for name in names if component(name) == name and not is_ignored(name))
        if not found:
            raise SourceUnavailable(f"source {self._source}: {self._root} cannot be opened")
        return tuple(found)

    @contextmanager
    def _open_root(self) -> Iterator[int]:
        try:
            root = os.open(self._root, _FOLDER)
        except OSError as error:
            raise SourceUnavailable(
                f"source {self._source}: {self._root} cannot be opened: {error.strerror}"
            ) from error
        try:
            yield root
        finally:
            os.close(root)


class _Walk:
    """One walk over a tree, from the root down; collects what becomes the listing."""

    def __init__(self, source: str, rights: RightsReader, device: int | None) -> None:
        self._source = source
        self._rights = rights
        self._device = device
        self.items: list[Item] = []
        self.access: dict[str, AccessEntry] = {}
        self.unavailable: dict[str, str] = {}
        self._problems: list[Problem] = []

    def listing(self, cursor: _Cursor) -> Listing:
        broken = [Problem(entry.origin, entry.problem) for entry in self.access.values() if entry.problem]
        return Listing(
            tuple(self.items),
            self.access,
            (*broken, *self._problems),
            self.unavailable,
            f"{cursor.items}:{cursor.marker}",
        )

    def folder(self, descriptor: int, path: str, above: AccessEntry, depth: int) -> None:
        try:
            names = sorted(os.listdir(descriptor))
            governed = _governed(names)
            entries = _entries(descriptor, names, governed)
        except OSError as error:
            self._close(path, f"cannot be listed: {error.strerror}")
            return
        first = len(self.items)
        governed = {name: each for name, each in governed.items() if name in entries}
        folder = Folder.of(descriptor, path, entries, governed)
        address = f"{uri(self._source, components(path[:-1]) if path else ())}/"
        place = self._govern(self._rights.of_folder(folder, above))
        for name in (*folder.strays, *folder.twins.values()):
            self._report(path + component(name), "governs no file: there is no document of exactly that name beside it")
        for name, status in entries.items():
            if name not in governed and not is_ignored(name):
                self._entry(folder, name, status, place, depth, address)
        if _states_of_access_files(descriptor) != {name: state(entries[name]) for name in governed}:
            self._withhold(path, first)

    def _withhold(self, path: str, first: int) -> None:
        """Contents from after a change may not go under rights from before it, nor the other way round."""
        where = path[:-1] or "."
        problem = f"the access files in {where} changed during the listing; the next listing will have it"
        place = self._govern(AccessEntry(f"folder:{where}", Acl.nobody(), where, problem))
        self.items[first:] = [replace(item, acl_reference=place.reference) for item in self.items[first:]]

    def _entry(
        self, folder: Folder, name: str, status: os.stat_result, place: AccessEntry, depth: int, address: str
    ) -> None:
        if stat.S_ISDIR(status.st_mode):
            self._descend(folder, name, place, depth + 1)
        elif stat.S_ISREG(status.st_mode):
            self._document(folder, name, status, place, address)
        else:
            kind = "a link is never followed" if stat.S_ISLNK(status.st_mode) else "not a regular file"
            self._report(folder.path + component(name), f"left out: {kind}")

    def _descend(self, above: Folder, name: str, place: AccessEntry, depth: int) -> None:
        path = f"{above.path}{component(name)}/"
        if depth > MAX_DEPTH:
            self._close(path, f"lies deeper than {MAX_DEPTH} folders")
            return
        try:
            descriptor = os.open(name, _SUBFOLDER, dir_fd=above.descriptor)
        except OSError as error:
            self._close(path, f"cannot be opened: {error.strerror}")
            return
        try:
            if self._device not in (None, os.fstat(descriptor).st_dev):
                self._close(path, "is another file system, mounted here; the source does not cross mounts")
            else:
                self.folder(descriptor, path, place, depth)
        finally:
            os.close(descriptor)

    def _document(self, folder: Folder, name: str, status: os.stat_result, place: AccessEntry, address: str) -> None:
        item_id = folder.path + component(name)
        place = self._rights.of_file(folder, name, item_id, place)
        if status.st_nlink > 1:
            place = HARD_LINKED
            self._report(item_id, "has several names (hard links), so it is shown to nobody; copy it instead")
        self._govern(place)
        self.items.append(
            Item(
                item_id=item_id,
                uri=address + quoted(name),
                name=displayed(name),
                modified_at=_moment(status.st_mtime_ns),
                change_token=_token(status),
                acl_reference=place.reference,
            )
        )

    def _govern(self, place: AccessEntry) -> AccessEntry:
        self.access[place.reference] = place
        return place

    def _close(self, path: str, problem: str) -> None:
        """What cannot be looked into may hold an access file that takes rights away, so it belongs to nobody."""
        where = path[:-1] or "."
        place = self._govern(AccessEntry(f"folder:{where}", Acl.nobody(), where, f"{where} {problem}"))
        self.unavailable[path] = place.reference

    def _report(self, where: str, detail: str) -> None:
        self._problems.append(Problem(where, detail))


def _changed(watches: RustNotify, stop: threading.Event, interval_s: float) -> bool:
    """Waits for changes, at most for the interval. False: told to stop."""
    found = watches.watch(_DEBOUNCE_MS, _QUIET_MS, int(interval_s * 1000), stop)
    if found == "signal":
        raise KeyboardInterrupt
    return found != "stop"


@dataclass(frozen=True, slots=True)
class _Cursor:
    """What a later listing needs to recognise the source: how many items there were, and the marker's sha256 or ""."""

    items: int
    marker: str

    @classmethod
    def parse(cls, text: str) -> _Cursor:
        items, _, marker = text.partition(":")
        return cls(int(items or 0), marker)


def _entries(descriptor: int, names: Iterable[str], rights: Container[str]) -> Mapping[str, os.stat_result]:
    """Status by name, links not followed; access files first, so that no content is older than the rights beside it."""
    return _status(descriptor, sorted(names, key=lambda name: name not in rights))


def _status(descriptor: int, names: Iterable[str]) -> dict[str, os.stat_result]:
    """What vanished since it was named was deleted."""
    entries: dict[str, os.stat_result] = {}
    for name in names:
        with suppress(FileNotFoundError):
            entries[name] = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    return entries


def _governed(names: Iterable[str]) -> Mapping[str, str]:
    """By name of each access file, what it governs."""
    return {name: each for name in names if (each := access_files.governed_by(name)) is not None}


def _states_of_access_files(descriptor: int) -> Mapping[str, tuple[int, ...]] | None:
    """Their states by name; None where the folder does not answer any more, which equals no state."""
    try:
        entries = _status(descriptor, _governed(os.listdir(descriptor)))
    except OSError:
        return None
    return {name: state(status) for name, status in entries.items()}


def _token(status: os.stat_result) -> str:
    """ctime is in it because a copy may keep size and mtime; the inode because a rename may keep all times.

    The device is not: a remount of a share gives it another number, and all documents would be read again.
    """
    return f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def _moment(mtime_ns: int) -> datetime:
    """UTC; file systems can hold years that a datetime cannot."""
    try:
        return _EPOCH + timedelta(microseconds=mtime_ns // 1000)
    except OverflowError:
        return _EPOCH


def _check_unchanged(file: int, item: Item) -> None:
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode) or _token(status) != item.change_token:
        raise ItemChanged(f"{item.item_id} is not what was listed, or changed while it was read")


@contextmanager
def _opened(root: int, names: tuple[str, ...]) -> Iterator[int]:
    """Descriptor of a file below the root, reached part by part without following a link."""
    descriptor = os.dup(root)
    try:
        for position, name in enumerate(names, start=1):
            flags = _FILE if position == len(names) else _SUBFOLDER
            deeper = os.open(name, flags, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = deeper
        yield descriptor
    finally:
        os.close(descriptor)


def _marker(root: int) -> str:
    """sha256 hex of the marker file in the root, "" without one."""
    try:
        with _opened(root, (MARKER,)) as file:
            return hashlib.sha256(os.read(file, _READ_BYTES)).hexdigest()
    except OSError:
        return ""  # seen by the caller: a marker that was there before and is not now makes the source unavailable
