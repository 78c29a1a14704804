"""Names of files, pure: as item ids, as URIs, for display, and which of them are never documents.

Linux names are bytes. An item id is the path under the root as POSIX text. A part that is not UTF-8 is percent-encoded
with an empty part in front of it (`old//%DCbersicht.txt`), which no real path has, so two files never share an id.
Names are never folded or normalised: NFC and NFD twins, and names that differ in case, are different files.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import quote, unquote_to_bytes

_IGNORED = frozenset(("thumbs.db", "desktop.ini", "lost+found", "$recycle.bin", "system volume information", "@eadir"))
_IGNORED_STARTS = (".", "~$")  # hidden files with .git, .snapshot and .~lock.*#; owner files of Office
_IGNORED_ENDS = (".tmp", ".part", ".crdownload", ".swp", "~")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]*")


def is_ignored(name: str) -> bool:
    """Whether a file or folder of this name is never looked at: temporary, hidden, or of the system."""
    folded = name.casefold()
    return folded in _IGNORED or folded.startswith(_IGNORED_STARTS) or folded.endswith(_IGNORED_ENDS)


def component(name: str) -> str:
    """One part of an item id for a name as Python gives it, with surrogates where it is not UTF-8."""
    return name if name.isascii() or _is_utf8(name) else "/" + quote(os.fsencode(name))


def components(item_id: str) -> tuple[str, ...]:
    """The names, as Python gives them, that make up an item id.

    Raises:
        ValueError: a part that no listing can have written, such as `..`.
    """
    names: list[str] = []
    encoded = False
    for part in item_id.split("/"):
        if not part and not encoded:
            encoded = True
            continue
        names.append(os.fsdecode(unquote_to_bytes(part)) if encoded else part)
        encoded = False
    if encoded or any(name in ("", ".", "..") or "/" in name or "\0" in name for name in names):
        raise ValueError(f"{item_id!r} is not the id of a file")
    return tuple(names)


def uri(source: str, names: Iterable[str]) -> str:
    """`file://<source>/<path>`, percent-encoded from the bytes of the names; never an absolute path of the server."""
    return f"file://{'/'.join(map(quoted, (source, *names)))}"


def quoted(name: str) -> str:
    """One part of a URI (RFC 3986), percent-encoded from the bytes of the name."""
    return name if _UNRESERVED.fullmatch(name) else quote(os.fsencode(name), safe="")


def displayed(name: str) -> str:
    """A name for people: Unicode NFC, with a replacement character for what is not UTF-8."""
    return name if name.isascii() else unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "replace"))


def folded(name: str) -> str:
    """Equal for names that people take for one: by case, or by composed and decomposed letters (Unicode D145)."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
