"""The documentation keeps its promises, and the check notices when it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.checks import documentation

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project whose documentation is right."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "Makefile").write_text("run: setup  ## Runs\nsetup:\n")
    (tmp_path / "docker-compose.yml").write_text("services: {}\n")
    (tmp_path / "README.md").write_text("# Read me\n\n[settings](docs/settings.md#all-settings), `make run`\n")
    (tmp_path / "docs/settings.md").write_text("# All settings\n\n| `KUSTOS_PORT` | `8080` | where it listens |\n")
    return tmp_path


def found(project: Path) -> list[str]:
    pages = documentation.pages(project)
    checks = (documentation.broken_links, documentation.missing_commands)
    faults = [fault for page in pages for check in checks for fault in check(project, page)]
    return faults + list(documentation.settings_faults(project, {"KUSTOS_PORT": "8080"}))


def test_the_documentation_holds() -> None:
    assert documentation.faults(ROOT) == []


def test_a_page_that_is_right_has_no_faults(project: Path) -> None:
    assert found(project) == []


@pytest.mark.parametrize(
    ("addition", "fault"),
    [
        ("[plan](docs/plan.md)", "README.md: docs/plan.md leads nowhere"),
        (
            "[plan](docs/settings.md#plan)",
            "README.md: docs/settings.md#plan names a heading that settings.md does not have",
        ),
        ("![shape](docs/shape.svg)", "README.md: docs/shape.svg leads nowhere"),
        ("`make cake`", "README.md: there is no 'make cake'"),
        ("```sh\n.venv/bin/kustos cake\n```", "README.md: there is no 'kustos cake'"),
        ("`KUSTOS_CAKE=1`", "README.md: KUSTOS_CAKE is not a setting"),
    ],
)
def test_a_promise_of_what_is_not_there_is_a_fault(addition: str, fault: str, project: Path) -> None:
    readme = project / "README.md"
    readme.write_text(f"{readme.read_text()}\n{addition}\n")
    assert found(project) == [fault]


def test_two_decisions_of_one_number_are_a_fault(project: Path) -> None:
    decisions = project / "docs/decisions"
    decisions.mkdir()
    for name in ("0001-layers.md", "0002-index.md", "0002-fusion.md"):
        (decisions / name).touch()
    wrong = ["docs/decisions: 0002-fusion.md and 0002-index.md have one number"]
    assert list(documentation.decisions_of_one_number(project)) == wrong


def test_a_setting_without_a_row_or_with_another_default_is_a_fault(project: Path) -> None:
    assert list(documentation.settings_faults(project, {"KUSTOS_PORT": "80", "KUSTOS_HOST": "127.0.0.1"})) == [
        "docs/settings.md: the default of KUSTOS_PORT is '80', not `8080`",
        "docs/settings.md: KUSTOS_HOST has no row",
    ]


def test_a_variable_of_tests_that_is_not_named_or_not_read_is_a_fault(project: Path) -> None:
    cake, flour = "KUSTOS_" + "TEST_CAKE", "KUSTOS_" + "TEST_FLOUR"  # in pieces: this file is a test, too
    (project / "tests").mkdir()
    (project / "tests/test_cake.py").write_text(f'CAKE = os.environ["{cake}"]\n')
    (project / "CONTRIBUTING.md").write_text(f"`{flour}`\n")
    assert list(documentation.faults_of_test_variables(project)) == [
        f"CONTRIBUTING.md: {cake} is not named",
        f"CONTRIBUTING.md: no test reads {flour}",
    ]


def test_addresses_and_code_blocks_are_no_relative_links(project: Path) -> None:
    readme = project / "README.md"
    readme.write_text("[a](https://example.org/x) [b](mailto:a@example.org)\n```\n[c](nowhere.md)\n```\n")
    assert found(project) == []
