"""A reminder: whoever changes what parsers make of a document raises PARSERS, or what is taken in already stays as it was.

    python -m tests.contract.test_parsers_version    writes anew what parsers make of every document here, as digests

The documents are those of the sample company, and small ones of the formats that it has none of. Characters are not
recognised here: that is a model's business, and differs between machines.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ingest.extraction import Element, Extraction
from ingest.parsers.options import ReadingOptions
from ingest.parsers.registry import parse
from ingest.sandbox import PARSERS
from rag.errors import DocumentRefused
from tests.contract import parser_files as files

KEPT = Path(__file__).with_name("parsers_version.json")
COMPANY = Path(__file__).parents[2] / "examples" / "company"
WITHOUT_RECOGNITION = ReadingOptions(ocr="off")
PLACES = 3
"""Of a box, as shares of the page: further ones are below what anybody sees."""
MADE = {
    "made.odt": files.odt(),
    "made.ods": files.ods(),
    "made.odp": files.odp(),
    "made.epub": files.epub(),
    "made.rtf": files.rtf(),
    "made.mhtml": files.mhtml(),
    "made.docx": files.word_with_footnote(),
    "made.zip": files.zipped({"a.txt": b"One.", "b/c.txt": b"Two."}),
    "made.tar": files.tarred(("a.txt", b"One.")),
    "made.json": b'{"title": "Tariff", "rows": [{"from": "Hamburg", "price": 12.5}, {"from": "Kiel", "price": 9}]}',
    "made.xml": b"<rates><rate from='Hamburg'>12.5</rate><rate from='Kiel'>9</rate></rates>",
    "made.rst": b"Tariff\n======\n\nFrom Kiel:\n\n* nine\n* ten\n",
    "made.tsv": b"from\tprice\nHamburg\t12.5\nKiel\t9\n",
}


def documents() -> Iterator[tuple[str, bytes]]:
    for path in sorted(COMPANY.rglob("*")):
        if path.is_file() and path.suffix != ".yaml":
            yield path.relative_to(COMPANY).as_posix(), path.read_bytes()
    yield from MADE.items()


def digest(name: str, data: bytes) -> str:
    try:
        told = described(parse(data, Path(name).name, WITHOUT_RECOGNITION))
    except DocumentRefused as refusal:
        told = {"refused": refusal.reason, "detail": refusal.detail}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def described(found: Extraction) -> dict[str, Any]:
    return {
        "about": [found.title, found.author, str(found.created_at), str(found.modified_at), found.media_type],
        "elements": [placed(each) for each in found.elements],
        "attachments": [[each.name, hashlib.sha256(each.data).hexdigest()] for each in found.attachments],
        "notices": found.notices,
    }


def placed(element: Element) -> list[Any]:
    box = element.box
    edges = [round(edge, PLACES) for edge in (box.left, box.top, box.right, box.bottom)] if box else None
    return [element.kind, element.text, element.level, element.page, edges]


def changed(kept: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Documents of both that are read otherwise now."""
    return [name for name in now if name in kept and kept[name] != now[name]]


def kept() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8"))
    return found


def write(kept: dict[str, Any], now: dict[str, str], version: str) -> dict[str, Any]:
    """What is to be kept from now on.

    Raises:
        SystemExit: something is read otherwise, and PARSERS is what it was.
    """
    differing = changed(kept.get("read", {}), now)
    if differing and kept["parsers"] == version:
        raise SystemExit(f"raise PARSERS in ingest/sandbox.py first: {', '.join(differing)} are read otherwise now")
    return {"parsers": version, "read": now}


@pytest.fixture(scope="module")
def now() -> dict[str, str]:
    return {name: digest(name, data) for name, data in documents()}


def test_what_parsers_make_of_a_document_changes_only_with_their_version(now: dict[str, str]) -> None:
    differing = changed(kept()["read"], now)
    assert not differing, (
        f"{', '.join(differing)}: read otherwise than by parsers {kept()['parsers']}. Documents that are taken in already "
        "would stay as they were, so raise PARSERS in ingest/sandbox.py, then run: "
        "python -m tests.contract.test_parsers_version"
    )


def test_what_is_kept_is_of_this_version_and_of_every_document(now: dict[str, str]) -> None:
    assert (kept()["parsers"], kept()["read"].keys()) == (PARSERS, now.keys()), (
        "run: python -m tests.contract.test_parsers_version"
    )


def test_it_is_not_written_anew_while_the_version_is_what_it_was() -> None:
    before = {"parsers": "4", "read": {"a.txt": digest("a.txt", b"One."), "gone.txt": "0"}}
    now = {"a.txt": digest("a.txt", b"Two."), "new.txt": digest("new.txt", b"One.")}
    with pytest.raises(SystemExit, match=r"raise PARSERS in ingest/sandbox.py first: a\.txt are read otherwise"):
        write(before, now, "4")
    assert write(before, now, "5") == {"parsers": "5", "read": now}
    same = {"a.txt": digest("a.txt", b"One.")}
    assert write(before, same, "4") == {"parsers": "4", "read": same}


if __name__ == "__main__":
    read = {name: digest(name, data) for name, data in documents()}
    there = kept() if KEPT.exists() else {}
    KEPT.write_text(json.dumps(write(there, read, PARSERS), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
