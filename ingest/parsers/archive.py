"""ZIP, TAR and compressed files as folders: each member is a document of its own. Nothing is unpacked to a path."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import PurePath
from typing import IO
from zipfile import ZipInfo

from ingest.extraction import Element, ElementKind, Extraction
from ingest.parsers.attachments import MAX_ATTACHMENT_BYTES, Attachments
from ingest.parsers.damage import damage, damaged, encrypted, too_large
from ingest.parsers.detection import TAR_MAGIC_AT
from ingest.parsers.kinds import FileKind
from ingest.parsers.packages import MAX_MEMBERS, Package, is_encrypted

MAX_LZMA_BYTES = 100_000_000
PIECE_BYTES = 1 << 20
LOCAL_HEADER_BYTES = 30  # at least, in front of each member of a ZIP archive
SUFFIXES = {".gz": "", ".bz2": "", ".xz": "", ".tgz": ".tar", ".tbz2": ".tar", ".txz": ".tar"}
METADATA = {"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"}
UNIX_TYPE = 0o170000
UNIX_FILES = {0, 0o100000}  # 0: made by a program that keeps no Unix mode
BLOCK_BYTES = 512  # of a TAR archive, which ends with blocks of zeros


class ZipParser:
    def parse(self, data: bytes, name: str) -> Extraction:
        """The list of members as text; the members themselves as attachments.

        Members that climb out, links and devices are left out, and those that are damaged or too many; the list says so
        (IN-03, IN-04). Whoever locked one member meant the archive to be locked.
        """
        files = Attachments()
        with Package(data) as package:
            _refuse_shared_bytes(package)
            if any(map(is_encrypted, package.members)):
                raise encrypted("files in it are protected by a password")
            for member in package.members:
                if reason := _unfit(member.filename) or _unfit_zip(member):
                    files.leave_out(member.filename, reason)
                elif not member.is_dir() and _is_content(member.filename):
                    files.take(member.filename, partial(package.read, member), member.file_size)
        return _listed(files, FileKind.ZIP)


def _refuse_shared_bytes(package: Package) -> None:
    """Members that lie over one another are how a small archive is made a large one (IN-04)."""
    end = 0
    for member in sorted(package.members, key=lambda each: each.header_offset):
        if member.header_offset < end:
            raise damaged("two of its members share their bytes")
        end = member.header_offset + LOCAL_HEADER_BYTES + member.compress_size


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
    return _listed(files, kind)


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
    files = Attachments()
    last = ""
    with damage("the archive"), tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        try:
            for count, member in enumerate(archive):
                if count >= MAX_MEMBERS:
                    raise too_large(f"it packs more than {MAX_MEMBERS:,} files")
                _take_from_tar(archive, member, files, len(data))
                last = member.name
        except tarfile.ReadError:
            is_cut = True
        else:
            is_cut = any(data[archive.offset : archive.offset + BLOCK_BYTES])  # where no header could be read
        if is_cut:
            files.take(f"what follows {last}", _nothing_readable)
    return _listed(files, kind)


def _take_from_tar(archive: tarfile.TarFile, member: tarfile.TarInfo, files: Attachments, packed: int) -> None:
    if reason := _unfit(member.name) or _unfit_tar(member):
        files.leave_out(member.name, reason)
    elif member.size > packed:
        files.leave_out(member.name, "larger than the archive")
    elif member.isfile() and _is_content(member.name):
        files.take(member.name, partial(_tar_member, archive, member), member.size)


def _tar_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = archive.extractfile(member)
    return content.read() if content else b""


def _nothing_readable() -> bytes:
    raise damaged("the archive is cut off or damaged")


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


def _listed(files: Attachments, kind: FileKind) -> Extraction:
    files.refuse_if_none_is_left()
    names = tuple(Element(ElementKind.LIST_ITEM, name) for name in files.listed())
    return Extraction("", names, kind, attachments=files.as_tuple(), notices=files.notices())
