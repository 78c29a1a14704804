"""The sample company, taken in once for the whole session by the real command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MODEL = ROOT / ".kustos-models" / "multilingual-e5-small"
NO_MODEL = "the bundled embedding model is not here; fetch it with: make setup"


@dataclass(frozen=True, slots=True)
class CommandLine:
    """`kustos` as a person would run it, in a home of its own."""

    home: Path

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
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
        # Nothing listens on port 9 (discard): no Ollama of this machine may change what the tests see.
        return inherited | {"KUSTOS_HOME": str(self.home), "KUSTOS_OLLAMA_URL": "http://127.0.0.1:9"} | more

    def json(self, *arguments: str) -> Any:
        ran = self.run(*arguments, "--json")
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A home with the sample company in it."""
    if not MODEL.is_dir():
        pytest.skip(NO_MODEL)
    command_line = CommandLine(tmp_path_factory.mktemp("demo") / "home")
    ran = command_line.run("demo", "--once")
    assert ran.returncode == 0, ran.stderr
    (command_line.home / "demo.txt").write_text(ran.stdout + ran.stderr, encoding="utf-8")
    return command_line
