"""The commands of the audit at a home of its own: who may, what they print, and their exit status."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from api.cli.commands import kustos
from rag.access.audit import Act, Deed
from rag.bootstrap import open_records
from rag.settings import Settings


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KUSTOS_HOME", str(tmp_path / "home"))
    records = open_records(Settings(home=tmp_path / "home"))
    for number in range(3):
        records.audit.record(Deed("main", "sys:local-operator", Act.INGEST, f"request {number}"))
    records.close()
    return tmp_path / "home"


def run(*arguments: str):
    return CliRunner().invoke(kustos, ["audit", *arguments])


@pytest.mark.usefixtures("home")
def test_verify_prints_the_head_and_what_was_counted() -> None:
    ran = run("verify")
    assert ran.exit_code == 0
    assert ran.stdout.startswith("3 records; head 3:")
    assert run("head").stdout.strip() in ran.stdout.replace("\n", "")
    assert json.loads(run("verify", "--json").stdout)["intact"] is True


def test_verify_names_the_first_record_that_does_not_fit_and_fails(home) -> None:
    records = open_records(Settings(home=home))
    with records.catalog.writing() as connection:
        connection.exec_driver_sql("UPDATE audit SET about = 'x' WHERE number = 2")
    records.close()
    ran = run("verify")
    assert ran.exit_code == 1
    assert "WRONG at 2: record 2 was changed" in ran.stdout
    assert json.loads(run("verify", "--json").stdout)["faults"][0]["number"] == 2


@pytest.mark.usefixtures("home")
def test_verify_takes_a_head_that_was_kept_elsewhere() -> None:
    head = run("head").stdout.strip()
    assert run("verify", "--noted", head).exit_code == 0
    assert run("verify", "--noted", f"3:{'0' * 64}").exit_code == 1
    assert run("verify", "--noted", f"9:{'0' * 64}").exit_code == 1
    refused = run("verify", "--noted", "3")
    assert (refused.exit_code, "NUMBER:MAC" in refused.output) == (1, True)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    "command",
    [["export"], ["who-saw", "x"], ["what-saw", "x"], ["prune", "--before", "2026-01-01"], ["forget", "x"]],
    ids=lambda command: command[0],
)
def test_sa_10_whoever_sits_at_the_machine_needs_a_name_to_read_the_audit_or_shorten_it(command) -> None:
    refused = run(*command)
    assert (refused.exit_code, "nobody can sign in" in refused.output) == (1, True)
    refused = run(*command, "--as", "anna")
    assert (refused.exit_code, "demo issuer" in refused.output) == (1, True)
