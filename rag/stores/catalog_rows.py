"""Between rows of the catalog and the values of `rag.documents`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import astuple, fields
from functools import lru_cache
from itertools import islice

from rag.access.acl import Acl
from rag.access.principals import Principal
from rag.documents import Box, Chunk, Document
from rag.stores.catalog_schema import acls, chunks, documents

DOCUMENT = tuple(documents.c[field.name] for field in fields(Document))
_CHUNK_FIELDS = tuple(field.name for field in fields(Chunk))
CHUNK = tuple(chunks.c[name] for name in _CHUNK_FIELDS)
ACL = (acls.c.allow, acls.c.deny)


def document(values: Iterable[object]) -> Document:
    """The document of a row selected by `DOCUMENT`."""
    return Document(*values)  # type: ignore[arg-type]


def chunk(values: Iterable[object]) -> Chunk:
    """The chunk of a row selected by `CHUNK`."""
    row = dict(zip(_CHUNK_FIELDS, values, strict=True))
    row["heading_path"] = tuple(json.loads(str(row["heading_path"])))
    row["boxes"] = tuple(Box(*each) for each in json.loads(str(row["boxes"])))
    return Chunk(**row)  # type: ignore[arg-type]


def chunk_columns(value: Chunk) -> dict[str, object]:
    row = {name: getattr(value, name) for name in _CHUNK_FIELDS}
    row["heading_path"] = json.dumps(value.heading_path, ensure_ascii=False)
    row["boxes"] = json.dumps([astuple(each) for each in value.boxes])
    return row


@lru_cache(maxsize=10_000)
def acl(allow: str, deny: str) -> Acl:
    """The ACL of a row selected by `ACL`. Keyed by its whole content, so the cache cannot serve an older one."""
    return Acl(_principals(allow), _principals(deny))


def acl_columns(value: Acl) -> dict[str, str]:
    return {"allow": json.dumps(sorted(value.allow)), "deny": json.dumps(sorted(value.deny))}


def split(row: Iterable[object], *widths: int) -> list[tuple[object, ...]]:
    """A row cut into consecutive groups of `widths` columns."""
    values = iter(row)
    return [tuple(islice(values, width)) for width in widths]


def _principals(text: str) -> frozenset[Principal]:
    return frozenset(Principal(entry) for entry in json.loads(text))
