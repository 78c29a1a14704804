"""`--help` is answered from pages rendered ahead; they must be what Click prints. Render them again with:

.venv/bin/python -m tests.unit.test_help_pages
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from statistics import median
from time import perf_counter

import click
import pytest
from click.testing import CliRunner

from api.cli import HELP_PAGES, _help_page
from api.cli.commands import kustos

WIDTH = 100
RENDER = "render the pages again: .venv/bin/python -m tests.unit.test_help_pages"


def paths(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command as the words that reach it."""
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from paths(found, (*path, name))


def rendered(path: tuple[str, ...]) -> str:
    """What Click prints for `kustos PATH --help`."""
    ran = CliRunner().invoke(kustos, [*path, "--help"], prog_name="kustos", terminal_width=WIDTH)
    assert ran.exit_code == 0
    return ran.stdout


COMMANDS = list(paths(kustos))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_a_help_page_is_what_click_prints(path) -> None:
    assert _help_page([*path, "--help"]) == rendered(path), RENDER


def test_every_page_belongs_to_a_command() -> None:
    assert {page.stem for page in HELP_PAGES.glob("*.txt")} == {"-".join(("kustos", *path)) for path in COMMANDS}, (
        RENDER
    )


@pytest.mark.parametrize(
    "arguments", [["serve", "--port", "1"], ["../../etc/passwd", "--help"], ["nothing", "--help"], ["ask"]]
)
def test_anything_else_goes_to_click(arguments) -> None:
    assert _help_page(arguments) is None


def test_help_loads_no_module_that_takes_time() -> None:
    code = (
        "import sys; sys.argv = ['kustos', 'search', '--help']; from api.cli import main; main(); print(*sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = set(printed.splitlines()[-1].split())
    assert "Usage: kustos search" in printed
    assert not loaded & {"click", "rich", "sqlalchemy", "fastapi", "numpy", "pydantic", "httpx"}


def measure(code: str) -> float:
    """Median seconds of a process that runs `code`."""
    took = []
    for _ in range(15):
        started = perf_counter()
        subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)
        took.append(perf_counter() - started)
    return median(took)


if __name__ == "__main__":
    for stale in HELP_PAGES.glob("*.txt"):
        stale.unlink()
    for each in COMMANDS:
        (HELP_PAGES / f"{'-'.join(('kustos', *each))}.txt").write_text(rendered(each), encoding="utf-8")
    bare = measure("pass")
    helped = measure("import sys; sys.argv = ['kustos', '--help']; from api.cli import main; main()")
    sys.stdout.write(
        f"{len(COMMANDS)} pages; --help takes {helped / bare:.1f} times the bare interpreter ({bare * 1000:.0f} ms)\n"
    )
