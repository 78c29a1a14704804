"""Files from before 2007 through the sandbox and a real LibreOffice."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.extraction import extracted_text
from ingest.sandbox import ParserPool
from rag.errors import DocumentRefused, RefusalReason
from tests.contract import parser_files as files

SOFFICE = shutil.which("soffice")
NO_OFFICE = "LibreOffice is not here: apt-get install libreoffice-writer-nogui libreoffice-impress-nogui"

pytestmark = pytest.mark.skipif(SOFFICE is None, reason=NO_OFFICE)


@pytest.fixture(scope="module")
def pool() -> Iterator[ParserPool]:
    with ParserPool(1, timeout_s=120) as pool:
        yield pool


def converted(data: bytes, source: str, target: str, folder: Path) -> bytes:
    (folder / f"file.{source}").write_bytes(data)
    profile = f"-env:UserInstallation={(folder / 'profile').as_uri()}"
    command = [
        str(SOFFICE),
        profile,
        "--headless",
        "--convert-to",
        target,
        "--outdir",
        str(folder),
        f"{folder}/file.{source}",
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return (folder / f"file.{target}").read_bytes()


@pytest.mark.parametrize(
    ("make", "source", "target", "media_type", "text"),
    [
        (files.word, "docx", "doc", "application/msword", "Nachts gilt der Zuschlag."),
        (files.slides, "pptx", "ppt", "application/vnd.ms-powerpoint", "Auf den Plan zeigen."),
    ],
)
def test_an_old_office_file_is_read_in_the_sandbox(
    make: Callable[[], bytes], source: str, target: str, media_type: str, text: str, pool: ParserPool, tmp_path: Path
) -> None:
    found = pool.parse(converted(make(), source, target, tmp_path), f"a.{target}")
    assert found.media_type == media_type
    assert text in extracted_text(found)[0]
    assert found.author == "Jana Lindqvist"


@pytest.mark.parametrize("stream", ["WordDocument", "PowerPoint Document"])
def test_an_old_office_file_that_is_none_is_refused_as_damaged(stream: str, pool: ParserPool) -> None:
    with pytest.raises(DocumentRefused) as refusal:
        pool.parse(files.compound({stream: b"<html><img src='http://sentinel.invalid/x'></html>"}), "a.doc")
    assert refusal.value.reason is RefusalReason.DAMAGED, refusal.value.detail
