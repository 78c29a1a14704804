"""ZIP, TAR and compressed files as folders: each member is a document of its own. Nothing is unpacked to a path."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import IO
from zipfile import ZipInfo

from ingest.extraction import Attachment, Element, ElementKind, Extraction
from ingest.parsers.attachments import MAX_ATTACHMENT_BYTES, Attachments, shown_name
from ingest.parsers.damage import damage, encrypted, too_large
from ingest.parsers.detection import TAR_MAGIC_AT, FileKind
from ingest.parsers.packages import MAX_MEMBERS, Package, is_encrypted

MAX_LZMA_BYTES = 100_000_000
PIECE_BYTES = 1 << 20
SUFFIXES = {".gz": "", ".bz2": "", ".xz": "", ".tgz": ".tar", ".tbz2": ".tar", ".txz": ".tar"}
METADATA = {"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"}
UNIX_TYPE = 0o170000
UNIX_FILES = {0, 0o100000}  # 0: made by a program that keeps no Unix mode
Left = list[tuple[str, str]]
"""Members that are left out: name, and why."""


class ZipParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """The list of members as text; the members themselves as attachments.

        Members that climb out, links and devices are left out, and the list says so (IN-03).
        """
        files, left = Attachments(), list[tuple[str, str]]()
        with Package(data) as package:
            if any(is_encrypted(member) for member in package.members):
                raise encrypted("files in it are protected by a password")
            for member in package.members:
                if reason := _unfit(member.filename) or _unfit_zip(member):
                    left.append((member.filename, reason))
                elif not member.is_dir() and _is_content(member.filename):
                    if member.file_size > files.room:
                        raise too_large(f"unpacked it takes more than {MAX_ATTACHMENT_BYTES:,} bytes")
                    files.add(member.filename, package.read(member))
        return _listed(files.as_tuple(), left, FileKind.ZIP)


class TarParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """As `ZipParser`."""
        return _tar(data, FileKind.TAR)


class GzipParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """The file or, where that is a TAR archive, the files in it."""
        return _unpacked(data, name, _gzip_file, FileKind.GZIP)


class Bzip2Parser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """As `GzipParser`."""
        return _unpacked(data, name, bz2.BZ2File, FileKind.BZIP2)


class XzParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """As `GzipParser`."""
        return _unpacked(data, name, _lzma_file, FileKind.XZ)


def _unpacked(data: bytes, name: str, opened: Callable[[IO[bytes]], IO[bytes]], kind: FileKind) -> Extraction:
    with damage("the compressed file"), opened(io.BytesIO(data)) as file:
        content = _bounded(file)
    if content[TAR_MAGIC_AT : TAR_MAGIC_AT + 5] == b"ustar":
        return _tar(content, kind)
    path = PurePath(name)
    inner = path.stem + SUFFIXES.get(path.suffix.lower(), path.suffix)
    files = Attachments()
    files.add(inner, content)
    return _listed(files.as_tuple(), [], kind)


def _bounded(file: IO[bytes]) -> bytes:
    """What is in a compressed file, piece by piece, so that a bomb is met before it has gone off."""
    pieces: list[bytes] = []
    length = 0
    while piece := file.read(PIECE_BYTES):
        pieces.append(piece)
        length += len(piece)
        if length > MAX_ATTACHMENT_BYTES:
            raise too_large(f"unpacked it takes more than {MAX_ATTACHMENT_BYTES:,} bytes")
    return b"".join(pieces)


class _BoundedLzma(io.RawIOBase):
    """An xz file that may use `MAX_LZMA_BYTES` of memory; `lzma.LZMAFile` takes what the file asks for."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decompressor = lzma.LZMADecompressor(memlimit=MAX_LZMA_BYTES)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self._decompressor.eof:
            packed = self._file.read(PIECE_BYTES) if self._decompressor.needs_input else b""
            if not packed and self._decompressor.needs_input:
                raise EOFError("the file ends in the middle")
            if found := self._decompressor.decompress(packed, size):
                return found
        return b""


def _gzip_file(file: IO[bytes]) -> IO[bytes]:
    return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]


def _lzma_file(file: IO[bytes]) -> IO[bytes]:
    return _BoundedLzma(file)  # type: ignore[return-value]


def _tar(data: bytes, kind: FileKind) -> Extraction:
    files, left = Attachments(), list[tuple[str, str]]()
    with damage("the archive"), tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for count, member in enumerate(archive):
            if count >= MAX_MEMBERS:
                raise too_large(f"it packs more than {MAX_MEMBERS:,} files")
            if reason := _unfit(member.name) or _unfit_tar(member):
                left.append((member.name, reason))
            elif member.isfile() and _is_content(member.name):
                if member.size > min(files.room, len(data)):
                    raise too_large("a member is larger than the archive or than what an archive may hold")
                content = archive.extractfile(member)
                files.add(member.name, content.read() if content else b"")
    return _listed(files.as_tuple(), left, kind)


def _unfit(name: str) -> str:
    """Why a name is no name of a file inside an archive; empty where it is one."""
    path = name.replace("\\", "/")
    if path.startswith("/") or path[1:3] == ":/" or ".." in path.split("/"):
        return "its name leads out of the archive"
    return "its name is not valid" if "\0" in path else ""


def _unfit_zip(member: ZipInfo) -> str:
    is_file = member.is_dir() or member.external_attr >> 16 & UNIX_TYPE in UNIX_FILES
    return "" if is_file else "a link or device"


def _unfit_tar(member: tarfile.TarInfo) -> str:
    return "" if member.isfile() or member.isdir() else "a link or device"


def _is_content(name: str) -> bool:
    return METADATA.isdisjoint(PurePath(name).parts)


def _listed(files: tuple[Attachment, ...], left: Left, kind: FileKind) -> Extraction:
    if not files and not left:
        return Extraction("", (), kind)
    return Extraction("", tuple(_list(files, left)), kind, attachments=files)


def _list(files: tuple[Attachment, ...], left: Left) -> Iterator[Element]:
    for file in files:
        yield Element(ElementKind.LIST_ITEM, file.name)
    for name, reason in left:
        yield Element(ElementKind.LIST_ITEM, f"{shown_name(name)} (left out: {reason})")
