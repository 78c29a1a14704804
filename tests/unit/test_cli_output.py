"""What commands print: tables that can be copied from, counts with their nouns, chains and moments as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest

from api.cli import output
from api.cli.installation import MOMENT
from api.cli.listing import RULES, in_lines, steps
from api.cli.output import counted, print_table
from rag.access.acl import Rule

ID = "4f0e1c9a-83d1-4a3f-9d2b-0f6e8f1b7c55"
COLUMNS = ("id", "title", "source")
ROWS = [(ID, "Travel and subsistence policy", "file://share/Felixstowe/Travel and subsistence policy.html")] * 2


def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int, **options: object) -> str:
    monkeypatch.setattr(output.out, "_width", width)
    print_table("2 documents", COLUMNS, ROWS, **options)  # type: ignore[arg-type]
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
def test_what_people_copy_stands_on_one_line_however_narrow_the_terminal(monkeypatch, capsys, width) -> None:
    shown = printed(monkeypatch, capsys, width, whole=("id",))
    assert shown.count(ID) == 2
    assert max(map(len, shown.splitlines())) <= width or "│" not in shown


def test_a_table_is_one_where_there_is_room_and_otherwise_rows_stand_below_each_other(monkeypatch, capsys) -> None:
    assert "│" in printed(monkeypatch, capsys, 100, whole=("id",))
    assert "│" in printed(monkeypatch, capsys, 60)
    assert "│" not in printed(monkeypatch, capsys, 40)
    below = printed(monkeypatch, capsys, 60, whole=("id",))
    assert f"id      {ID}\ntitle   Travel and subsistence policy\n" in below
    assert ROWS[0][2] in below


def test_nothing_to_show_is_a_table_of_nothing(monkeypatch, capsys) -> None:
    monkeypatch.setattr(output.out, "_width", 80)
    print_table("0 documents", COLUMNS, [], whole=("id",))
    assert "0 documents" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("number", "nouns", "said"),
    [
        (0, ("file",), "0 files"),
        (1, ("file",), "1 file"),
        (1, ("person", "people"), "1 person"),
        (2, ("person", "people"), "2 people"),
    ],
)
def test_a_count_has_its_noun(number, nouns, said) -> None:
    assert counted(number, *nouns) == said


def test_a_chain_names_each_step_once() -> None:
    person, team, company = "kc:acme:user:1", "kc:acme:group-id:t", "kc:acme:group-id:c"
    groups = {team: "/company/team", company: "/company"}
    assert steps((person, team, company, "kc:acme:group:/company"), groups) == [
        person,
        "/company/team",
        "kc:acme:group:/company",
    ]
    assert steps((person, "kc:acme:role:staff"), groups) == [person, "kc:acme:role:staff"]
    assert steps((), groups) == []


TOLD = {
    "source": "file://share/plan.txt",
    "allowed": True,
    "rule": "allow_matches",
    "as_of": "2026-05-01T08:00:00+00:00",
    "chains": [["kc:acme:user:1", "kc:acme:group-id:t", "kc:acme:group:/team"]],
    "groups": {"kc:acme:group-id:t": "/team"},
    "allow": ["kc:acme:group:/team"],
    "origin": "_access.yaml",
    "rights_since": "2026-04-01T08:00:00+00:00",
    "problem": None,
    "grants": [],
    "in_vain": {},
}


def test_an_explanation_says_who_by_which_rule_and_through_what() -> None:
    assert in_lines(TOLD, "ann", past=False) == [
        "ann may read file://share/plan.txt",
        "  as of   2026-05-01T08:00:00+00:00",
        "  rule    allow_matches: the entry allows this",
        "  through kc:acme:user:1 → kc:acme:group:/team",
        "  entry   _access.yaml, so since 2026-04-01T08:00:00+00:00",
    ]


def test_an_explanation_of_a_refusal_says_whom_the_entry_allows_and_what_is_wrong_with_it() -> None:
    refused = {**TOLD, "allowed": False, "rule": "no_allow_matches", "chains": [], "problem": "line 3\x1b[2J"}
    lines = in_lines(refused, "bob", past=True)
    assert lines[0] == "bob could not read file://share/plan.txt"
    assert lines[-2:] == ["  allows  kc:acme:group:/team", "  problem line 3 [2J"]


def test_an_explanation_says_what_the_entry_names_in_vain() -> None:
    named = {**TOLD, "in_vain": {"kc:acme:group:/tema": "is none of Keycloak's groups; capitals count"}}
    assert in_lines(named, "ann", past=False)[-1] == (
        "  in vain kc:acme:group:/tema is none of Keycloak's groups; capitals count"
    )


def test_an_explanation_names_the_grant_that_is_or_was_in_force() -> None:
    granted = {**TOLD, "grants": ["4f0e"]}
    assert in_lines(granted, "ann", past=False)[-1] == "  grant   4f0e of break-glass is in force"
    assert in_lines(granted, "ann", past=True)[-1] == "  grant   4f0e of break-glass was in force"


def test_every_rule_has_its_words() -> None:
    assert RULES.keys() == set(Rule)


def moment(text: str) -> datetime:
    return MOMENT.convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2026-05-01", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-05-01T08:00:00Z", datetime(2026, 5, 1, 8, tzinfo=UTC)),
        ("2026-05-01T08:00:00+02:00", datetime(2026, 5, 1, 6, tzinfo=UTC)),
        ("2026-05-01 08:00", datetime(2026, 5, 1, 8, tzinfo=UTC)),
    ],
)
def test_a_moment_is_a_day_or_a_time(text, read) -> None:
    assert moment(text) == read


def test_today_and_yesterday_begin_at_midnight_utc() -> None:
    before = datetime.now(UTC).date()
    today, yesterday = moment("today"), moment("yesterday")
    assert today - yesterday == timedelta(days=1)
    assert (today.hour, today.minute, today.second, today.microsecond) == (0, 0, 0, 0)
    assert before <= today.date() <= datetime.now(UTC).date()


@pytest.mark.parametrize("text", ["tomorrow", "", "1", "2026-13-01", "01.05.2026"])
def test_what_is_no_moment_hears_what_one_looks_like(text) -> None:
    with pytest.raises(click.UsageError, match="write 2026-05-01, 2026-05-01T08:00:00Z, today or yesterday"):
        moment(text)
