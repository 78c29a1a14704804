"""Rules about the shape of the code that no linter knows, read off its syntax trees."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("rag", "connectors", "ingest", "eval", "api")

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 60
MIGRATIONS = "rag.stores.migrations.versions."  # tables written out once and never touched again

SCOPE_MAKER = "rag.access.gate"
READER_HOLDERS = {"rag.bootstrap", "rag.access.gate"}
READS_ENVIRONMENT = {
    "api.bench.__main__",
    "api.cli.installation",
    "ingest.parsers.child",
    "rag",
}  # rag reads nothing and only silences vendors
IMPORTS_LATE = re.compile(r"api\.(cli|__main__)(\..+|_.+)?|(\w+\.)*bootstrap")
SHARED_VENDORS = {"numpy", "pydantic", "yaml"}  # vocabulary, not products: no adapter would hide anything
FORBIDDEN_PARAMETER = re.compile(r"bypass.*|skip_.*|unsafe.*|no_access.*|as_admin|ignore_acl.*")
FORBIDDEN_MODULE = re.compile(r"(.*_)?(utils?|helpers?|managers?|common|misc)")


@dataclass(frozen=True, slots=True)
class Module:
    """One source file with its dotted name and syntax tree."""

    name: str
    path: Path
    tree: ast.Module

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))

    def classes(self) -> Iterator[ast.ClassDef]:
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef))

    def imports(self) -> Iterator[tuple[str, str]]:
        """(module, name) for every import, wherever it stands; name is empty for `import module`."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, "") for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from ((node.module or "", alias.name) for alias in node.names)


def _module(path: Path) -> Module:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    return Module(name, path, ast.parse(path.read_text(encoding="utf-8")))


MODULES = [_module(path) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
BESIDE = [_module(path) for folder in ("tests", "docs", "examples") for path in sorted((ROOT / folder).rglob("*.py"))]
"""What is ours too, and no part of the product."""
NAMES = {module.name for module in MODULES}


def called_name(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def test_an_access_scope_is_made_by_the_gate_alone() -> None:
    makers = {
        module.name
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and called_name(node) in {"AccessScope", "replace"} and _makes_scope(node)
    }
    assert makers == {SCOPE_MAKER}


def _makes_scope(node: ast.Call) -> bool:
    """`AccessScope(...)`, or `replace(scope, ...)` that would copy one with other principals."""
    if called_name(node) == "AccessScope":
        return True
    return bool(node.args) and isinstance(node.args[0], ast.Name) and "scope" in node.args[0].id


def test_fb_15_a_reader_passes_from_the_bootstrap_to_the_gate_and_nowhere_else() -> None:
    holders = {
        module.name
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and node.attr == "reader" and not _of_module(node, "csv")
    }
    holders |= {module.name for module in MODULES if ("rag.ports", "ChunkReader") in module.imports()}
    adapters = {name for name in holders if name.startswith("rag.stores.")}  # they own what they hand out
    assert holders - adapters <= READER_HOLDERS


def _of_module(node: ast.Attribute, module: str) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id == module


def test_the_environment_is_read_where_a_process_starts_and_nowhere_else() -> None:
    readers = {
        module.name
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute)
        and node.attr in {"environ", "environb", "getenv", "putenv"}
        and _of_module(node, "os")
    } | {module.name for module in MODULES if {("os", "environ"), ("os", "getenv")} & set(module.imports())}
    assert readers == READS_ENVIRONMENT


@pytest.mark.parametrize("module", [*MODULES, *BESIDE], ids=lambda module: module.name)
def test_files_and_functions_stay_small(module: Module) -> None:
    assert len(module.path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES
    long = {
        f.name: lines for f in module.functions() if (lines := (f.end_lineno or 0) - f.lineno + 1) > MAX_FUNCTION_LINES
    }
    assert not long or module.name.startswith(MIGRATIONS)


def test_no_parameter_offers_a_way_round_a_check() -> None:
    offers = [
        f"{module.name}.{function.name}({argument.arg})"
        for module in MODULES
        for function in module.functions()
        for argument in [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        if FORBIDDEN_PARAMETER.fullmatch(argument.arg)
    ]
    assert not offers


def test_modules_are_named_after_what_they_hold() -> None:
    assert not [name for name in NAMES if FORBIDDEN_MODULE.fullmatch(name.rsplit(".", 1)[-1])]


def test_imports_inside_functions_only_where_a_process_starts() -> None:
    late = {
        f"{module.name}:{node.lineno}"
        for module in MODULES
        if not IMPORTS_LATE.fullmatch(module.name)
        for function in module.functions()
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert not late


def internal_imports(module: Module) -> set[str]:
    """Modules of ours that `module` imports, at its top or inside a function."""
    targets = {f"{name}.{member}" if f"{name}.{member}" in NAMES else name for name, member in module.imports()}
    return (targets & NAMES) - {module.name}


def test_no_import_cycles_even_through_functions() -> None:
    try:
        TopologicalSorter({module.name: internal_imports(module) for module in MODULES}).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


def imported_vendors() -> set[str]:
    imported = {name.split(".")[0] for module in MODULES for name, _ in module.imports()}
    return imported - set(sys.stdlib_module_names) - set(PACKAGES)


def test_every_vendor_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[\[><=]", requirement)[0] for requirement in project["dependencies"]}
    providers = packages_distributions()
    undeclared = {
        vendor
        for vendor in imported_vendors()
        if not declared & {name.lower().replace("_", "-") for name in providers[vendor]}
    }
    assert not undeclared


def test_every_vendor_has_a_contract() -> None:
    parser = ConfigParser()
    parser.read(ROOT / ".importlinter")
    contracted = {
        name
        for section in parser.sections()
        if section.startswith("importlinter:contract:vendor-")
        for name in parser[section]["protected_modules"].split()
    }
    vendors = imported_vendors()
    assert vendors - SHARED_VENDORS <= contracted
    assert contracted <= vendors, "a contract for a vendor that nobody imports any more"


DOCUMENTED = ("rag.ports", "rag.access.gate", "rag.access.acl", "rag.errors")


@pytest.mark.parametrize("module", [m for m in MODULES if m.name in DOCUMENTED], ids=lambda module: module.name)
def test_ports_and_gate_say_what_they_raise(module: Module) -> None:
    silent = [
        f"{owner.name}.{function.name}"
        for owner in module.classes()
        for function in owner.body
        if isinstance(function, ast.FunctionDef) and not function.name.startswith("_")
        if _raises(function) - _documented(function)
    ]
    assert not silent


def _raises(function: ast.FunctionDef) -> set[str]:
    raised = (node.exc for node in ast.walk(function) if isinstance(node, ast.Raise) and node.exc)
    return {called_name(error) for error in raised if isinstance(error, ast.Call)}


def _documented(function: ast.FunctionDef) -> set[str]:
    _, _, section = (ast.get_docstring(function) or "").partition("Raises:")
    return set(re.findall(r"^\s*(\w+):", section, re.MULTILINE))


@pytest.mark.parametrize("module", [m for m in MODULES if m.name in DOCUMENTED], ids=lambda module: module.name)
def test_public_classes_of_ports_gate_and_errors_are_explained(module: Module) -> None:
    told = ast.get_docstring(module.tree) or ""  # the error tree explains its leaves in one drawing
    unexplained = [
        owner.name
        for owner in module.classes()
        if not owner.name.startswith("_") and not ast.get_docstring(owner) and owner.name not in told
    ]
    assert not unexplained
