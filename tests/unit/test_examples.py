"""The sample company is what its README promises: enough documents, every kind of right, and readers who differ.

Rights are computed here by a small evaluator of its own, written from the schema and not from the product's code.
"""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from email import message_from_bytes
from email.policy import default
from functools import cache
from pathlib import Path
from typing import Any

import docx
import openpyxl  # type: ignore[import-untyped]
import pptx
import pymupdf as _pymupdf
import pytest
import yaml

from examples.make_documents import content, sources

pymupdf: Any = _pymupdf  # its annotations are partial

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
COMPANY = EXAMPLES / "company"
READERS = ("anna", "bjarne", "katharina")
REFUSED = {
    "Finanzen/Kontoauszug 2025-05.pdf",
    "Mitarbeiterhandbuch/Kantinenordnung.docx",
    "Betrieb/Grundriss Halle 2 Billwerder.dwg",
}
SCANS = {
    "Betrieb/Unfallberichte/Unfallbericht 2025-03-11 Stapler.pdf",
    "Finanzen/Eingangsrechnung Reifen-Kontor 2025-1187.pdf",
    "Mitarbeiterhandbuch/Betriebsvereinbarungen/BV 07 Telematik und Ortung.pdf",
}


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


ACCOUNTS = _yaml(EXAMPLES / "accounts.yaml")
QUESTIONS = _yaml(EXAMPLES / "questions.yaml")
SIDECARS = sorted(path for path in COMPANY.rglob("*access.yaml"))
DOCUMENTS = sorted(
    path.relative_to(COMPANY).as_posix()
    for path in COMPANY.rglob("*")
    if path.is_file() and not path.name.endswith("access.yaml")
)


# --- the reference evaluator -------------------------------------------------------------------------------------


def _entry(entry: Any) -> str:
    if entry == "everyone":
        return "everyone"
    ((kind, value),) = entry.items()
    return str(value) if kind == "principal" else f"kc:hansekai:{kind}:{value}"


@cache
def _rights(path: Path) -> tuple[frozenset[str], frozenset[str]]:
    """Allow and deny of a file or folder below the company's root; the root's own parent has none."""
    if path == COMPANY.parent:
        return frozenset(), frozenset()
    allow, deny = _rights(path.parent)
    sidecar = path / "_access.yaml" if path.is_dir() else path.with_name(path.name + ".access.yaml")
    if not sidecar.exists():
        return allow, deny
    own = _yaml(sidecar)
    inherited = (allow, deny) if own.get("inherit", True) else (frozenset(), frozenset())
    return (
        inherited[0] | {_entry(entry) for entry in own.get("allow", [])},
        inherited[1] | {_entry(entry) for entry in own.get("deny", [])},
    )


@cache
def _principals(name: str) -> frozenset[str]:
    account = next(account for account in ACCOUNTS["accounts"] if account["name"] == name)
    groups, waiting = set(), list(account["groups"])
    while waiting:
        group = waiting.pop()
        groups.add(group)
        waiting += [parent for parent in ACCOUNTS["groups"][group] if parent not in groups]
    return frozenset(
        {"everyone", f"kc:hansekai:user:{account['subject']}"}
        | {f"kc:hansekai:role:{role}" for role in account["roles"]}
        | {f"kc:hansekai:group:{group}" for group in groups}
    )


def _may(name: str, document: str) -> bool:
    allow, deny = _rights(COMPANY / document)
    return bool(allow & _principals(name)) and not deny & _principals(name)


def _readable(name: str) -> set[str]:
    return {document for document in DOCUMENTS if _may(name, document)}


# --- documents ---------------------------------------------------------------------------------------------------


def test_the_company_has_at_least_50_documents_and_stays_small() -> None:
    assert len(DOCUMENTS) >= 50
    assert sum((COMPANY / name).stat().st_size for name in DOCUMENTS) < 3_000_000


@pytest.mark.parametrize(
    ("suffix", "least"),
    [
        (".pdf", 12),
        (".docx", 10),
        (".pptx", 3),
        (".xlsx", 5),
        (".html", 3),
        (".eml", 3),
        (".md", 4),
        (".txt", 3),
        (".csv", 4),
    ],
)
def test_every_format_is_there(suffix: str, least: int) -> None:
    assert Counter(Path(name).suffix for name in DOCUMENTS)[suffix] >= least


def test_about_a_quarter_of_the_documents_is_english() -> None:
    english = {source.file.as_posix() for source in sources() if source.language == "en"}
    native = {name for name in DOCUMENTS if name.endswith((".md", ".txt")) and _is_english(COMPANY / name)}
    assert 0.2 <= len(english | native) / len(DOCUMENTS) <= 0.35


def _is_english(path: Path) -> bool:
    words = path.read_text(encoding="utf-8").lower().split()
    return words.count("the") + words.count("of") > words.count("der") + words.count("die")


def test_every_made_document_has_a_source_and_every_source_its_document() -> None:
    made = {source.file.as_posix() for source in sources()}
    native = {name for name in DOCUMENTS if name.endswith((".md", ".txt", ".csv"))}
    assert made | native == set(DOCUMENTS)


def test_making_a_document_twice_gives_the_same_bytes() -> None:
    first_of_kind = {source.file.suffix: source for source in sources() if source.layout != "locked"}
    for source in first_of_kind.values():
        assert content(source) == content(source), source.file


def test_pdfs_have_a_text_layer_unless_they_are_scans() -> None:
    for name in DOCUMENTS:
        if name.endswith(".pdf") and name not in REFUSED:
            with pymupdf.open(COMPANY / name) as document:
                text = "".join(page.get_text() for page in document)
                pictures = [picture for page in document for picture in page.get_images()]
            assert (text == "") == (name in SCANS) == bool(pictures), name


def test_a_two_column_pdf_has_its_text_in_two_columns() -> None:
    with pymupdf.open(COMPANY / "Betrieb/Ladungssicherung Kurzanleitung.pdf") as document:
        lefts = {round(block[0]) // 100 for block in document[0].get_text("blocks") if 90 < block[1] < 780}
    assert {0, 3} <= lefts


def test_a_pdf_has_a_table_with_borders() -> None:
    with pymupdf.open(COMPANY / "Betrieb/Gefahrgut/ADR-Merkblatt Klassen 3 und 8.pdf") as document:
        (table,) = document[0].find_tables().tables
        cells = [document[0].get_text(clip=cell).strip() for cell in table.rows[1].cells]
    assert cells[:3] == ["UN 1263", "Farbe", "3"]


def test_word_files_have_headings_and_some_a_table() -> None:
    tables = 0
    for name in DOCUMENTS:
        if name.endswith(".docx") and name not in REFUSED:
            document = docx.Document(str(COMPANY / name))
            tables += len(document.tables)
            styles = [paragraph.style.name for paragraph in document.paragraphs if paragraph.style]
            assert "Heading 1" in styles, name
    assert tables >= 5


def test_slides_have_titles_and_sheets_have_rows() -> None:
    for name in DOCUMENTS:
        if name.endswith(".pptx"):
            assert all(slide.shapes.title.text for slide in pptx.Presentation(str(COMPANY / name)).slides), name
        if name.endswith(".xlsx"):
            assert all(sheet.max_row > 3 for sheet in openpyxl.load_workbook(COMPANY / name).worksheets), name


def test_a_mail_carries_an_attachment_that_opens() -> None:
    mail = (COMPANY / "Vertrieb/Kunden/Reklamation Kessler Medizintechnik.eml").read_bytes()
    (attachment,) = message_from_bytes(mail, policy=default).iter_attachments()
    document = docx.Document(io.BytesIO(attachment.get_content()))
    assert document.paragraphs[0].text == "Schadensprotokoll Sendung 7718-25"


def test_mails_name_sender_and_subject() -> None:
    for name in DOCUMENTS:
        if name.endswith(".eml"):
            message = message_from_bytes((COMPANY / name).read_bytes(), policy=default)
            assert message["From"], name
            assert message["Subject"], name


def test_three_files_cannot_be_read_each_for_its_own_reason() -> None:
    assert set(DOCUMENTS) >= REFUSED
    with pymupdf.open(COMPANY / "Finanzen/Kontoauszug 2025-05.pdf") as document:
        assert document.needs_pass
    broken = COMPANY / "Mitarbeiterhandbuch/Kantinenordnung.docx"
    assert broken.read_bytes().startswith(b"PK")
    assert not zipfile.is_zipfile(broken)
    assert (COMPANY / "Betrieb/Grundriss Halle 2 Billwerder.dwg").read_bytes().startswith(b"AC1032")


# --- accounts and rights -----------------------------------------------------------------------------------------


def test_accounts_are_distinct_and_their_groups_known() -> None:
    accounts = ACCOUNTS["accounts"]
    assert len(accounts) >= 7
    for key in ("name", "subject", "email"):
        assert len({account[key] for account in accounts}) == len(accounts)
    mentioned = {group for account in accounts for group in account["groups"]}
    mentioned |= {parent for parents in ACCOUNTS["groups"].values() for parent in parents}
    assert mentioned <= set(ACCOUNTS["groups"])


def test_groups_nest_at_least_two_levels_deep() -> None:
    above = ACCOUNTS["groups"]
    assert any(above[parent] for parents in above.values() for parent in parents)


def test_access_files_name_only_what_the_directory_knows() -> None:
    known = {"everyone"} | {f"kc:hansekai:group:{group}" for group in ACCOUNTS["groups"]}
    for account in ACCOUNTS["accounts"]:
        known |= _principals(account["name"])
    for sidecar in SIDECARS:
        data = _yaml(sidecar)
        assert data["kustos_access"] == 1, sidecar
        assert set(data) <= {"kustos_access", "realm", "inherit", "allow", "deny"}, sidecar
        assert {_entry(entry) for key in ("allow", "deny") for entry in data.get(key, [])} <= known, sidecar


def test_every_file_access_file_has_its_document() -> None:
    beside = [path for path in SIDECARS if path.name != "_access.yaml"]
    assert beside
    assert all(path.with_name(path.name.removesuffix(".access.yaml")).is_file() for path in beside)


@pytest.mark.parametrize(
    ("kind", "document", "readers", "others"),
    [
        ("open to everyone", "Aushang/Company profile.pdf", "paul anna james", ""),
        ("inherited", "Betrieb/Gefahrgut/ADR-Merkblatt Klassen 3 und 8.pdf", "anna katharina", "bjarne paul"),
        ("inherited and widened", "Betrieb/Zoll/Ausfuhr nach Großbritannien.html", "anna bjarne grace", "sarah"),
        ("broken", "Vertrieb/Margen/Deckungsbeiträge 2024.xlsx", "martin katharina", "bjarne tobias"),
        ("denied inside a group", "Vertrieb/Kunden/Umsatz je Kunde 2024.csv", "bjarne grace", "tobias"),
        ("the group of the denied", "Vertrieb/Preisliste 2025.xlsx", "bjarne tobias", "anna"),
        ("granted to one", "Geschäftsführung/Projekt Albatros/Site inspection Ipswich.docx", "jens henning", "murat"),
        ("beside the granted", "Geschäftsführung/Projekt Albatros/Valuation model.xlsx", "henning katharina", "jens"),
        ("one file widened", "IT/Passwort-Merkblatt.txt", "lena anna", "paul"),
        ("closed to the top", "Betriebsrat/Sprechstunden und Kontakte.txt", "murat", "katharina jens"),
        ("path is no membership (RM-03)", "Betrieb/Fahrerhandbuch 2025.pdf", "anna jens", "emil"),
    ],
)
def test_each_kind_of_right_is_present(kind: str, document: str, readers: str, others: str) -> None:
    assert {name for name in readers.split() if not _may(name, document)} == set(), kind
    assert {name for name in others.split() if _may(name, document)} == set(), kind


def test_a_folder_without_access_file_is_read_by_nobody() -> None:
    hidden = {document for document in DOCUMENTS if document.startswith("Altbestand/")}
    assert hidden
    assert not any(_readable(account["name"]) & hidden for account in ACCOUNTS["accounts"])
    assert not (COMPANY / "_access.yaml").exists()


def test_an_account_without_rights_reads_the_notices_only() -> None:
    assert {Path(document).parts[0] for document in _readable("paul")} == {"Aushang"}


def test_the_three_readers_of_the_demo_may_read_clearly_different_documents() -> None:
    sets = [_readable(name) for name in READERS]
    for one in sets:
        for other in sets:
            assert one is other or len(one ^ other) >= 5
    assert sets[0] - sets[1]
    assert sets[1] - sets[0]


# --- questions ---------------------------------------------------------------------------------------------------


def test_the_demo_asks_one_german_and_one_english_question_of_three_people() -> None:
    assert [question["language"] for question in QUESTIONS["questions"]] == ["de", "en"]
    assert tuple(QUESTIONS["ask_as"]) == READERS


def test_the_demo_questions_have_different_answers_for_the_three() -> None:
    for question in QUESTIONS["questions"]:
        rows = {row["as"]: row for row in QUESTIONS["expectations"] if row["question"] == question["text"]}
        assert len({tuple(rows[name]["answer_in"]) for name in READERS}) == 3


def test_expectations_agree_with_the_rights() -> None:
    assert len(QUESTIONS["expectations"]) >= 20
    for row in QUESTIONS["expectations"]:
        assert set(row) == {"question", "language", "as", "answer_in", "never"}
        assert set(row["answer_in"]) <= _readable(row["as"]) - REFUSED, row
        assert set(row["never"]) <= set(DOCUMENTS) - _readable(row["as"]), row
