"""Every pinned runtime dependency has a row with its licence, and none asks for something that nobody has read."""

from __future__ import annotations

from docs.checks import licences
from docs.checks.licences import BEGIN, END, Row

PAGE = f"# Licences\n\n{BEGIN}\n{END}\n\nThe end.\n"


def test_the_page_lists_every_pinned_dependency() -> None:
    page = licences.PAGE.read_text(encoding="utf-8")
    pinned = licences.pins(licences.PINNED.read_text(encoding="utf-8"))
    assert len(pinned) > 100
    assert licences.faults(licences.rows(pinned, page), page) == []


def test_a_new_dependency_without_a_row_is_a_fault() -> None:
    row = Row("leftpad", "1.0", "MIT", "")
    assert licences.faults([row], PAGE) == ["leftpad 1.0: no such row, or another one"]


def test_a_row_of_another_version_is_a_fault() -> None:
    page = licences.written([Row("leftpad", "1.0", "MIT", "")], PAGE)
    assert licences.faults([Row("leftpad", "1.1", "MIT", "")], page) == ["leftpad 1.1: no such row, or another one"]


def test_a_row_of_a_dependency_that_is_gone_is_a_fault() -> None:
    page = licences.written([Row("leftpad", "1.0", "MIT", "")], PAGE)
    assert licences.faults([], page) == ["leftpad: is not pinned any more"]


def test_an_unknown_or_restricted_licence_needs_a_word() -> None:
    table = [Row("silent", "1", "", ""), Row("viral", "1", "GPL-3.0-only", ""), Row("read", "1", "MPL-2.0", "why")]
    page = licences.written(table, PAGE)
    assert licences.faults(table, page) == [
        "silent: its licence is not known; write it into STATED",
        "viral: GPL-3.0-only needs a reason in RESTRICTED",
    ]


def test_writing_replaces_the_table_and_nothing_else() -> None:
    once = licences.written([Row("leftpad", "1.0", "MIT", "")], PAGE)
    assert licences.written([], once) == licences.written([], PAGE)
    assert once.startswith("# Licences\n")
    assert once.endswith("The end.\n")


def test_versions_that_depend_on_the_interpreter_share_a_row() -> None:
    text = "numpy==2.4 ; python_full_version < '3.12' \\\n    --hash=sha256:00\nnumpy==2.5 ; python_full_version >= '3.12'\n"
    assert licences.pins(text) == {"numpy": "2.4, 2.5"}
