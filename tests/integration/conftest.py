"""The sample company, taken in once for the whole run by the real command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from api.cli.commands import kustos
from tests.once import folder_of_the_run
from tests.security.watched import NO_OLLAMA, ROOT, home_of_the_demo, run_of_the_demo

MODEL = ROOT / ".kustos-models" / "multilingual-e5-small"
NO_MODEL = "the bundled embedding model is not here; fetch it with: make setup"


@dataclass(frozen=True, slots=True)
class CommandLine:
    """`kustos` as a person would run it, in a home of its own."""

    home: Path

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The command in this process, which has loaded everything: starting anew costs more than most commands take.

        Raises:
            Exception: what a person would see as a traceback.
        """
        unset = dict.fromkeys(name for name in os.environ if name.startswith("KUSTOS_"))
        with chdir(ROOT):
            result = CliRunner().invoke(kustos, arguments, env=unset | self.environment(**environment))
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return subprocess.CompletedProcess(arguments, result.exit_code, result.stdout, result.stderr)

    def run_alone(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The command in a process of its own."""
        return subprocess.run(
            [sys.executable, "-c", "from api.cli import main; main()", *arguments],
            env=self.environment(**environment),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def environment(self, **more: str) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("KUSTOS_")}
        return inherited | {"KUSTOS_HOME": str(self.home)} | NO_OLLAMA | more

    def json(self, *arguments: str) -> Any:
        ran = self.run(*arguments, "--json")
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A home with the sample company in it."""
    if not MODEL.is_dir():
        pytest.skip(NO_MODEL)
    folder = folder_of_the_run(tmp_path_factory)
    ran = run_of_the_demo(folder)
    assert ran.status == 0, ran.err
    command_line = CommandLine(tmp_path_factory.mktemp("demo") / "home")
    shutil.copytree(home_of_the_demo(folder), command_line.home)
    (command_line.home / "demo.txt").write_text(ran.out + ran.err, encoding="utf-8")
    return command_line
