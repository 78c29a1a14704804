"""Word and PowerPoint files from before 2007, and binary workbooks: through LibreOffice, where it is installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from ingest.extraction import Extraction
from ingest.parsers.base import Parser
from ingest.parsers.compound import compound_stream, compound_streams
from ingest.parsers.damage import damaged, encrypted
from ingest.parsers.detection import OLE_MAGIC, detect
from ingest.parsers.kinds import FileKind
from ingest.parsers.slides import PptxParser
from ingest.parsers.spreadsheet import XlsxParser
from ingest.parsers.wire import NeedsProgram
from ingest.parsers.word import DocxParser

PROGRAM = "soffice"
PROGRAM_PATH = "/usr/bin:/usr/local/bin:/opt/libreoffice/program:/snap/bin"
PACKAGES = {"docx": "libreoffice-writer-nogui", "pptx": "libreoffice-impress-nogui", "xlsx": "libreoffice-calc-nogui"}
IMPORTS = {"docx": "MS Word 97", "pptx": "MS PowerPoint 97", "xlsx": "Calc MS Excel 2007 Binary"}
"""What LibreOffice may take a file for: by itself it would read anything as something."""
RESTART = 81  # how LibreOffice ends once it has made a new profile
FIB_MAGIC = b"\xec\xa5"
FIB_FLAGS_AT = 0x0A  # MS-DOC 2.5.2, FibBase
FIB_ENCRYPTED = 0x01  # bit 8 of the flags, in their second byte


@dataclass(frozen=True, slots=True)
class _Converted:
    """Reads what LibreOffice makes of a file."""

    kind: FileKind
    target: str
    parser: Parser

    def parse(self, data: bytes, name: str) -> Extraction:
        """As the current format of the same program, under the media type of the old one."""
        _refuse_encrypted(data)
        converted = _converted(data, self.target)
        detect(converted, "")  # what comes out is trusted no more than what goes in
        return replace(self.parser.parse(converted, name), media_type=self.kind)


class DocParser(_Converted):
    def __init__(self) -> None:
        super().__init__(FileKind.DOC, "docx", DocxParser())


class PptParser(_Converted):
    def __init__(self) -> None:
        super().__init__(FileKind.PPT, "pptx", PptxParser())


class XlsbParser(_Converted):
    def __init__(self) -> None:
        super().__init__(FileKind.XLSB, "xlsx", XlsxParser())


def _refuse_encrypted(data: bytes) -> None:
    if not data.startswith(OLE_MAGIC):
        return
    streams = compound_streams(data)
    head = compound_stream(data, "WordDocument", 32) if "WordDocument" in streams else bytes(32)
    locked = head.startswith(FIB_MAGIC) and bool(head[FIB_FLAGS_AT + 1] & FIB_ENCRYPTED)
    if locked or "EncryptedSummary" in streams:
        raise encrypted("the document is protected by a password")


def _converted(data: bytes, target: str) -> bytes:
    """The file in a current format.

    Raises:
        NeedsProgram: this process may not start LibreOffice, or there is none.
    """
    program = shutil.which(PROGRAM, path=PROGRAM_PATH)
    if program is None:
        raise _needed(target)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "document")
        source.write_bytes(data)
        command = (
            str(Path(program).resolve().with_name("soffice.bin")),  # the command is a script, and no shell may run
            f"-env:OSL_SOCKET_PATH={tempfile.gettempdir()}",
            f"-env:UserInstallation={Path(folder, 'profile').as_uri()}",
            f"-env:UNO_SHARED_PACKAGES_CACHE={Path(folder, 'extensions').as_uri()}",  # the system's is read-only here
            "--headless", "--norestore",
            f"--infilter={IMPORTS[target]}",
            "--convert-to", target, "--outdir", folder, str(source),
        )  # fmt: skip
        try:
            if _run(command, folder) == RESTART:
                _run(command, folder)
        except PermissionError as error:
            raise _needed(target) from error
        result = Path(folder, f"document.{target}")
        if not result.is_file():
            raise damaged("LibreOffice cannot read it")
        return result.read_bytes()


def _run(command: tuple[str, ...], folder: str) -> int:
    return subprocess.run(command, capture_output=True, check=False, cwd=folder).returncode  # noqa: S603


def _needed(target: str) -> NeedsProgram:
    advice = f"an older Office format: install the Debian package {PACKAGES[target]}, or save it as .{target}"
    return NeedsProgram(PROGRAM, advice)
