"""Makes the binary files of the sample company from `examples/content`.

    python -m examples.make_documents            writes what differs
    python -m examples.make_documents --check    writes nothing; exit status 1 where a file is missing or differs

The same sources give the same bytes with the same library versions. The one exception is the locked PDF: encryption is
salted, so the file stays as it is once it exists.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from examples.builders import mail, office, portable, web
from examples.builders.source import Source, read

HERE = Path(__file__).resolve().parent
CONTENT = HERE / "content"
COMPANY = HERE / "company"
_PASSWORD = "Kontoauszug-2025"  # noqa: S105 - the sample's own; nobody is meant to have it
_MEDIA_TYPES = {
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".pdf": "application/pdf",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_BUILDERS = {
    ".pdf": portable.pdf,
    ".docx": office.word,
    ".pptx": office.slides,
    ".xlsx": office.sheet,
    ".html": web.page,
}


def sources() -> Iterator[Source]:
    """Every document that is made, in the order of its content file; attachments live in their mails only."""
    for path in sorted(CONTENT.rglob("*.md")):
        source = read(path)
        if not source.head.get("attachment"):
            yield source


def content(source: Source) -> bytes:
    """The bytes of one document."""
    match source.file.suffix, source.layout:
        case ".pdf", "locked":
            return portable.locked(source, _PASSWORD)
        case ".docx", "damaged":
            return _damaged(office.word(source))
        case ".eml", _:
            return mail.mail(source, [_attached(source, name) for name in source.head.get("attach", [])])
        case ".dwg", _:
            return _drawing(source)
        case suffix, _:
            return _BUILDERS[suffix](source)


def _attached(source: Source, name: str) -> tuple[str, str, bytes]:
    part = read(source.path.parent / name)
    return part.file.name, _MEDIA_TYPES[part.file.suffix], content(part)


def _damaged(whole: bytes) -> bytes:
    """What a copy that broke off leaves: the first two thirds, without the archive's directory."""
    return whole[: len(whole) * 2 // 3]


def _drawing(source: Source) -> bytes:
    """The beginning of an AutoCAD file, enough to be recognised as one: its version mark and opaque content."""
    return b"AC1032" + bytes(range(256)) * 8 + source.title.encode("utf-16-le")


def _differs(source: Source, made: bytes) -> bool:
    target = COMPANY / source.file
    if not target.is_file():
        return True
    if source.layout == "locked":
        return not portable.is_locked(target.read_bytes())
    return target.read_bytes() != made


def main() -> int:
    """Exit status 0, or 1 if `--check` found a difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    check = parser.parse_args().check
    changed = [(source, made) for source in sources() if _differs(source, made := content(source))]
    for source, made in changed:
        print(source.file)
        if not check:
            (COMPANY / source.file).parent.mkdir(parents=True, exist_ok=True)
            (COMPANY / source.file).write_bytes(made)
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
