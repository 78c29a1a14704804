"""Says where the documentation promises what is not there; exit status 1 if it does.

    python -m docs.checks.documentation

Checked: relative links and their headings; `make` targets and `kustos` commands named in code; every setting of
`rag/settings.py` with its default in docs/settings.md, and no setting anywhere that does not exist; every variable that
tests read in CONTRIBUTING.md, and no other; a number of its own for each decision.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from rag.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
SETTINGS_PAGE = Path("docs/settings.md")
NOT_OURS = {".venv", ".kustos", ".kustos-models", ".git", "build", ".hypothesis", ".pytest_cache", ".mypy_cache"}

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"^```\w*\n(.*?)^```|`([^`\n]+)`", re.MULTILINE | re.DOTALL)
_MAKE = re.compile(r"\bmake ([a-z][a-z-]*)")
_COMMAND = re.compile(r"(?:^|[\s/])kustos ([a-z][a-z-]*)", re.MULTILINE)
_SETTING = re.compile(r"\bKUSTOS_[A-Z0-9_]+\b")
_SETTING_ROW = re.compile(r"^\| `(KUSTOS_[A-Z0-9_]+)` \| (`[^`]*`|) *\|", re.MULTILINE)
_TEST_VARIABLE = re.compile(r"\bKUSTOS_(?:TEST_[A-Z_]*[A-Z]|EVAL_DATA)\b")
_TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)


def pages(root: Path) -> list[Path]:
    """Every Markdown page below `root` that belongs to the project and is not a sample document."""
    found = (page.relative_to(root) for page in sorted(root.rglob("*.md")))
    return [page for page in found if not NOT_OURS & set(page.parts) and page.parts[:2] != ("examples", "company")]


def broken_links(root: Path, page: Path) -> Iterator[str]:
    """Relative links of one page that lead nowhere."""
    text = _FENCED.sub("", (root / page).read_text(encoding="utf-8"))
    for plain, image in _LINK.findall(text):
        link = plain or image
        if re.match(r"[a-z]+:", link):
            continue
        file, _, heading = link.partition("#")
        target = (root / page).parent / file if file else root / page
        if not target.exists():
            yield f"{page}: {link} leads nowhere"
        elif heading and heading not in anchors(target.read_text(encoding="utf-8")):
            yield f"{page}: {link} names a heading that {target.name} does not have"


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and GitLab make them."""
    titles = (title.lower() for title in _HEADING.findall(_FENCED.sub("", text)))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def missing_commands(root: Path, page: Path) -> Iterator[str]:
    """`make` targets and `kustos` commands that a page names in code and that do not exist."""
    code = "\n".join(block or inline for block, inline in _CODE.findall((root / page).read_text(encoding="utf-8")))
    targets = set(_TARGET.findall((root / "Makefile").read_text(encoding="utf-8")))
    for target in sorted(set(_MAKE.findall(code)) - targets):
        yield f"{page}: there is no 'make {target}'"
    for command in sorted(set(_COMMAND.findall(code))):
        if not command_exists(root, command):
            yield f"{page}: there is no 'kustos {command}'"


@cache
def command_exists(root: Path, command: str) -> bool:
    """Whether the command line knows `kustos COMMAND`, asked of the command line itself."""
    program = [sys.executable, "-c", "from api.cli import main; main()", command, "--help"]
    return subprocess.run(program, cwd=root, capture_output=True, check=False, timeout=60).returncode == 0


def settings_faults(root: Path, defaults: dict[str, str]) -> Iterator[str]:
    """Differences between the settings (key to default, as it is typed) and what the documentation says of them."""
    rows = dict(_SETTING_ROW.findall((root / SETTINGS_PAGE).read_text(encoding="utf-8")))
    for key, default in defaults.items():
        if key not in rows:
            yield f"{SETTINGS_PAGE}: {key} has no row"
        elif rows[key].strip("`") != default:
            yield f"{SETTINGS_PAGE}: the default of {key} is {default!r}, not {rows[key]}"
    for page in [*pages(root), Path("docker-compose.yml")]:
        for key in sorted(set(_SETTING.findall((root / page).read_text(encoding="utf-8"))) - set(defaults)):
            if not key.startswith(("KUSTOS_TEST_", "KUSTOS_EVAL_DATA")):
                yield f"{page}: {key} is not a setting"


def faults_of_test_variables(root: Path) -> Iterator[str]:
    """Variables that tests read and CONTRIBUTING.md does not name, and the other way round."""
    sources = (each.read_text(encoding="utf-8") for each in (root / "tests").rglob("*.py"))
    read = {name for source in sources for name in _TEST_VARIABLE.findall(source)}
    named = set(_TEST_VARIABLE.findall((root / "CONTRIBUTING.md").read_text(encoding="utf-8")))
    yield from (f"CONTRIBUTING.md: {name} is not named" for name in sorted(read - named))
    yield from (f"CONTRIBUTING.md: no test reads {name}" for name in sorted(named - read))


def decisions_of_one_number(root: Path) -> Iterator[str]:
    """Decisions whose number another has already."""
    seen: dict[str, str] = {}
    for page in sorted((root / "docs/decisions").glob("[0-9]*.md")):
        number = page.name.partition("-")[0]
        if number in seen:
            yield f"docs/decisions: {seen[number]} and {page.name} have one number"
        seen[number] = page.name


def setting_defaults() -> dict[str, str]:
    """Every setting of Kustos with its default, written as an operator would type it."""
    defaults = Settings()
    return {f"{PREFIX}{name.upper()}": _typed(getattr(defaults, name)) for name in Settings.__slots__}


def _typed(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def faults(root: Path) -> list[str]:
    """Everything that is wrong, one sentence each."""
    found = [fault for page in pages(root) for check in (broken_links, missing_commands) for fault in check(root, page)]
    return [
        *found,
        *settings_faults(root, setting_defaults()),
        *faults_of_test_variables(root),
        *decisions_of_one_number(root),
    ]


if __name__ == "__main__":
    found = faults(ROOT)
    print("\n".join(found) or f"Documentation: {len(pages(ROOT))} pages, links, commands and settings hold.")
    sys.exit(bool(found))
