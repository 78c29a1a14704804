"""The catalogue of attacks says of each case which tests execute it, or what it waits for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from docs.checks.cases import BEGIN, END, state, table, written
from tests.security.__main__ import Executed, page, rows
from tests.security.catalogue import Case, cases, executing, faults, named

LISTED = """
[TV]
about = "Tokens"
01 = "No signature"
02 = "Another key"
[waiting]
TV-02 = "keys: there are none yet"
[partly]
"""


@pytest.mark.parametrize(
    ("test", "ids"),
    [
        ("test_tv_01_unsigned_tokens_are_refused", ["TV-01"]),
        ("test_fb_04_and_fb_13_the_server_is_asked_strictly", ["FB-04", "FB-13"]),
        ("test_rm_10_tv_23_a_silent_token", ["RM-10", "TV-23"]),
        ("test_tv_01_unsigned[none]", ["TV-01"]),
        ("test_a_retry_in_05_seconds", []),
        ("test_o6_nothing_leaves", []),
    ],
)
def test_a_test_executes_the_cases_that_its_name_begins_with(test: str, ids: list[str]) -> None:
    assert list(named(test)) == ids


def test_every_case_that_a_test_is_named_after_is_in_the_catalogue() -> None:
    assert executing().keys() - cases().keys() == set()


def test_no_two_cases_say_the_same() -> None:
    titles = Counter((each.title.casefold()) for each in cases().values())
    assert [title for title, number in titles.items() if number > 1] == []


def test_what_a_case_waits_for_is_named_with_the_reason() -> None:
    told = [each.waits or each.lacks for each in cases().values() if each.waits or each.lacks]
    assert [each for each in told if ": " not in each] == []


def test_the_catalogue_and_the_tests_are_compared_both_ways() -> None:
    catalogue = cases(LISTED)
    assert catalogue["TV-02"] == Case("TV-02", "Tokens", "Another key", waits="keys: there are none yet")
    assert faults(catalogue, {"TV-01": 1}) == []
    assert faults(catalogue, {}) == ["TV-01: no test is named after it, and [waiting] does not say why"]
    assert faults(catalogue, {"TV-01": 1, "TV-02": 1}) == ["TV-02: [waiting] is out of date"]
    assert faults(catalogue, {"TV-01": 1, "TV-03": 1}) == ["TV-03: a test is named after it, and there is no such case"]


def test_waiting_for_what_is_no_case_is_an_error() -> None:
    with pytest.raises(KeyError, match="TV-09"):
        cases(LISTED.replace("TV-02 =", "TV-09 ="))


def test_tests_are_found_by_name_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "tests/unit").mkdir(parents=True)
    (tmp_path / "tests/unit/test_x.py").write_text("class A:\n    async def test_tv_01_in_06_a_name() -> None: ...\n")
    assert executing(tmp_path / "tests") == {"TV-01": ["tests/unit/test_x.py"], "IN-06": ["tests/unit/test_x.py"]}


@pytest.mark.parametrize(
    ("outcomes", "result"),
    [
        (["passed", "passed"], "passed"),
        (["passed", "skipped"], "passed"),
        (["skipped", "skipped"], "SKIPPED"),
        (["passed", "failed"], "FAILED"),
        ([], "NOT EXECUTED"),
    ],
)
def test_the_matrix_says_the_worst_that_came_of_a_case(outcomes: list[str], result: str) -> None:
    executed = Executed()
    tests = [f"tests/a.py::test_tv_01_a_token[{number}::x]@tests/a.py" for number in range(len(outcomes))]
    executed.outcomes = dict(zip(tests, outcomes, strict=True))
    first, second = rows(cases(LISTED), executed)
    assert (first.result, second.result) == (result, "waits")
    assert f"| TV-01 | No signature | {result} |" in page([first, second])
    assert "| TV-02 | Another key | waits |  | keys: there are none yet |" in page([first, second])


def test_the_page_says_of_each_case_what_became_of_it() -> None:
    catalogue = cases(LISTED)
    lines = list(table(catalogue.values(), {"TV-01": 1}))
    assert "| TV-01 | No signature | executed |" in lines
    assert "| TV-02 | Another key | waits for keys: there are none yet |" in lines
    assert state(catalogue["TV-01"], executed=False) == "not executed"
    page = f"# Head\n{BEGIN}\nold\n{END}\nfoot\n"
    assert written(page, lines) == written(written(page, lines), lines)
    assert written(page, lines).startswith("# Head\n")
    assert written(page, lines).endswith("\nfoot\n")
