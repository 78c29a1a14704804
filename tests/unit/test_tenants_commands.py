"""`kustos tenants` where it has to say no."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from api.cli.commands import kustos
from tests.unit.test_tenants_file import table


@pytest.fixture
def home(tmp_path: Path) -> Path:
    file = tmp_path / "tenants.toml"
    file.touch(0o600)
    file.write_text(table("north"), encoding="utf-8")
    (tmp_path / "home" / "tenants" / "north").mkdir(parents=True, mode=0o700)
    return tmp_path / "home"


def run(home: Path, *arguments: str, typed: str = "", **environment: str) -> Result:
    env = {"KUSTOS_HOME": str(home), "KUSTOS_TENANTS": str(home.parent / "tenants.toml"), **environment}
    return CliRunner().invoke(kustos, arguments, input=typed, env=env)


@pytest.mark.parametrize("typed", ["", "\n\n", "south\n", "North\n", "y\n"])
def test_mt_05_a_tenant_whose_name_is_not_typed_again_stays(home, typed) -> None:
    ran = run(home, "tenants", "remove", "north", typed=typed)
    assert ran.exit_code == 1
    assert list((home / "tenants").iterdir()) == [home / "tenants" / "north"]


@pytest.mark.parametrize("name", ["../north", "north/..", ".", "NORTH", "nоrth"])
def test_mt_05_what_can_be_no_tenants_name_removes_nothing(home, name) -> None:
    ran = run(home, "tenants", "remove", name, "--yes")
    assert ran.exit_code == 1
    assert list((home / "tenants").iterdir()) == [home / "tenants" / "north"]


def test_an_installation_of_one_tenant_has_none_to_list_or_remove(home) -> None:
    for arguments in (("list",), ("remove", "main", "--yes")):
        ran = run(home, "tenants", *arguments, KUSTOS_TENANTS="")
        assert ran.exit_code == 1
        assert "this installation has one tenant" in " ".join(ran.output.split())
