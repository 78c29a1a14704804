"""A folder that holds one embedding model: which files it needs, and what proves that they are whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from rag.errors import ModelUnavailable

MODEL = "model.onnx"
TOKENIZER = "tokenizer.json"
MANIFEST = "kustos-model.json"


def sha256(path: Path) -> str:
    """sha256 hex of a file's bytes.

    Raises:
        ModelUnavailable: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelUnavailable(f"{path} cannot be read ({error.strerror}); fetch the model again") from error


def fingerprint(folder: Path, model: str = MODEL) -> str:
    """sha256 hex over what a vector depends on: the weights in the file `model` of `folder`, and the tokenizer.

    Raises:
        ModelUnavailable: one of the two is not there.
    """
    return hashlib.sha256("".join(sha256(folder / name) for name in (model, TOKENIZER)).encode()).hexdigest()


def write_manifest(folder: Path, facts: Mapping[str, str]) -> None:
    """Records `facts` and the sha256 of every file in `folder`."""
    files = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    (folder / MANIFEST).write_text(json.dumps({**facts, "files": files}, indent=2) + "\n", encoding="utf-8")


def damage(folder: Path, facts: Mapping[str, str]) -> str | None:
    """What keeps `folder` from being the model that `facts` describe, in words; None if it is whole."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = dict(manifest.pop("files"))
    except FileNotFoundError:
        return f"{folder / MANIFEST} is not there"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{folder / MANIFEST} cannot be read: {error}"
    if manifest != dict(facts):
        return f"{folder} was made from something else or by another version of Kustos"
    if not {MODEL, TOKENIZER} <= files.keys():
        return f"{folder / MANIFEST} does not name {MODEL} and {TOKENIZER}"
    return _altered(folder, files)


def _altered(folder: Path, files: Mapping[str, str]) -> str | None:
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            return f"{path} is not there"
        if sha256(path) != expected:
            return f"{path} has been altered or damaged"
    return None
