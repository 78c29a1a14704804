"""What `kustos doctor` says of an exported realm before there is an installation."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from api.cli.commands import kustos
from tests.keycloak_realm import CLIENTS, REALM_FILE


def doctor(home: Path, export: Path, **environment: str) -> Result:
    usual = {name: None for name in os.environ if name.startswith("KUSTOS_")}
    given = {"KUSTOS_HOME": str(home), "KUSTOS_CLIENTS": ",".join(CLIENTS), **environment}
    return CliRunner().invoke(kustos, ["doctor", "--realm", str(export), "--json"], env={**usual, **given})


def told(result: Result) -> list[tuple[str, str, str]]:
    found: list[dict[str, Any]] = json.loads(result.stdout)["findings"]
    return [(each["check"], each["state"], each["detail"]) for each in found]


def test_an_export_is_checked_where_there_is_no_installation_and_none_is_begun(tmp_path: Path) -> None:
    home = tmp_path / "home"
    ran = doctor(home, REALM_FILE)
    assert ran.exit_code == 0, ran.output
    assert told(ran) == [
        ("realm", "good", "kustos gives kustos-cli, kustos-eval, kustos-page, kustos-sync what Kustos needs"),
        ("home", "note", f"there is no Kustos installation in {home}, so nothing but the export was checked"),
    ]
    assert not home.exists()


def test_what_it_lacks_is_named_there_too(tmp_path: Path) -> None:
    ran = doctor(tmp_path / "home", REALM_FILE, KUSTOS_CLIENTS="")
    assert ran.exit_code == 1
    assert [state for _, state, _ in told(ran)] == ["wrong", "note"]
    assert told(ran)[0][2].startswith("client kustos: asks for no tokens")


@pytest.mark.parametrize("text", ["", '{"clients": []}'])
def test_a_file_without_a_realm_is_said_in_words_there_too(tmp_path: Path, text: str) -> None:
    export = tmp_path / "export.json"
    export.write_text(text)
    ran = doctor(tmp_path / "home", export)
    assert ran.exit_code == 1
    assert "the export" in ran.stderr
