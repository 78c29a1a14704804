"""A real folder with documents and access files, and beside it what they mean, in the words of the reference."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import yaml

from tests.memory_source import UNREADABLE
from tests.security.reference import EVERYONE, Rights, Sidecar, rights_of

REALM = "acme"

BREAKAGES = ("not yaml", "unknown key", "empty", "writable by others", "a link", "misspelt twin", "only a leftover")


class Tree:
    """Documents and access files in a real folder; every change goes to the disk and to the reference's view."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.documents: dict[str, bytes] = {}
        self.sidecars: dict[str, Sidecar | None] = {}
        self._clock = 10**18
        root.mkdir(parents=True)
        (root / ".kustos-source").write_text("the root, also while it is empty")

    def write(self, path: str, content: bytes) -> None:
        """A new or edited document. The time of change always differs, as it would between two edits by people."""
        self._put(self.root / path, content)
        self.documents[path] = content

    def delete(self, path: str) -> None:
        """Does nothing where there is no such document; so does `rename`."""
        (self.root / path).unlink(missing_ok=True)
        self.documents.pop(path, None)

    def rename(self, path: str, to: str) -> None:
        if path not in self.documents:
            return
        (self.root / to).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).replace(self.root / to)
        self.documents[to] = self.documents.pop(path)

    def govern(self, place: str, sidecar: Sidecar) -> None:
        self.ungovern(place)
        self._put(self._sidecar(place), _written(sidecar))
        self.sidecars[place] = sidecar

    def break_sidecar(self, place: str, how: str) -> None:
        """An access file that must not be believed; each way gives everyone something, if it were."""
        self.ungovern(place)
        file, open_to_all = self._sidecar(place), _written(Sidecar(False, Rights(frozenset({EVERYONE}))))
        match how:
            case "not yaml":
                self._put(file, open_to_all + b"\n: [")
            case "unknown key":
                self._put(file, open_to_all + b"\ndenny: []\n")
            case "empty":
                self._put(file, b"")
            case "writable by others":
                self._put(file, open_to_all)
                file.chmod(0o666)
            case "a link":
                elsewhere = self.root / ".elsewhere.yaml"
                self._put(elsewhere, open_to_all)
                file.symlink_to(elsewhere)
            case "misspelt twin":
                self._put(file, open_to_all)
                self._put(file.with_suffix(".yml"), open_to_all)
            case "only a leftover":
                self._put(file.with_name(file.name + "~"), open_to_all)
            case _:
                raise ValueError(how)
        self.sidecars[place] = None

    def ungovern(self, place: str) -> None:
        file = self._sidecar(place)
        for each in (file, file.with_suffix(".yml"), file.with_name(file.name + "~")):
            each.unlink(missing_ok=True)
        self.sidecars.pop(place, None)

    def rights(self, path: str) -> Rights:
        """Nobody's beside an access file that lost its document, for a document without one of its own."""
        folder = path.rpartition("/")[0]
        beside = {
            place for place in self.sidecars if place[-1:] not in ("", "/") and place.rpartition("/")[0] == folder
        }
        if path not in self.sidecars and beside - set(self.documents):
            return Rights()
        return rights_of(path, self.sidecars)

    def _sidecar(self, place: str) -> Path:
        inside = not place or place.endswith("/")
        file = self.root / (f"{place}_access.yaml" if inside else f"{place}.access.yaml")
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def _put(self, file: Path, content: bytes) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = self.root / ".draft"
        draft.write_bytes(content)
        draft.chmod(0o644)
        self._clock += 1_000_000
        os.utime(draft, ns=(self._clock, self._clock))
        draft.replace(file)


def readable(content: bytes) -> bool:
    """Whether the parser of these tests finds text in it."""
    return content not in (UNREADABLE.encode(), b"")


def version(content: bytes) -> str:
    """The version that Kustos gives to this content."""
    return hashlib.sha256(content).hexdigest()


def text(paragraphs: Sequence[str]) -> bytes:
    return "\n".join(paragraphs).encode()


def _written(sidecar: Sidecar) -> bytes:
    """The access file in the schema of docs/access-files.md, using its short and its long forms."""
    content = {"kustos_access": 1, "realm": REALM, "inherit": sidecar.inherit}
    lists = {"allow": sidecar.rights.allow, "deny": sidecar.rights.deny}
    entries = {key: [_entry(each) for each in sorted(principals)] for key, principals in lists.items()}
    return yaml.safe_dump({**content, **entries}).encode()


def _entry(principal: str) -> str | dict[str, str]:
    if principal == EVERYONE:
        return "everyone"
    prefix, _, name = principal.rpartition(":")
    kind = prefix.removeprefix(f"kc:{REALM}:")
    return {"group": name} if kind == "group" else {"user": name} if kind == "user" else {"principal": principal}
