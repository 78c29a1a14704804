"""Takes a tenant out of an installation for good, but for what proves what was done in his time.

Gone are index, documents, rights, directory, keys, sessions, grants, limits and the home folder with its secrets. Kept
is the audit, which nobody who runs Kustos may shorten: every record as an event, under pseudonyms whose names are gone
with the rest, with the key that verifies it and the notes of its last record. It lies where no tenant looks, so that a
tenant who comes back under the name sees nothing of it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rag.access import ocsf
from rag.access.audit import Act, Deed
from rag.bootstrap import INDEX_HELD, WRITING, Records, index_lock, open_records, remove_indexes
from rag.errors import NotFound, StoreUnavailable
from rag.private_files import replace_private
from rag.settings import Settings
from rag.stores.audit_notes import FOLDER as AUDIT
from rag.stores.catalog import Catalog
from rag.stores.catalog_removal import remove_tenant as remove_rows
from rag.stores.catalog_removal import tenants_in
from rag.stores.lease import FileLease

FOLDER = "removed"
"""Of the installation's home: what is kept of tenants that were removed."""
EVENTS = "audit.jsonl"


@dataclass(frozen=True, slots=True)
class Removed:
    """What is gone of a tenant, and where his audit is. `rows` by table of a shared catalog."""

    indexes: int
    rows: Mapping[str, int]
    records: int
    kept: Path


def remove_tenant(settings: Settings, installation: Path, *, by: str, request_id: str = "") -> Removed:
    """Removes the tenant of the settings. What an attempt that failed has left, the next one removes.

    Args:
        installation: home of the installation, under which his audit is kept.

    Raises:
        NotFound: there is nothing of him.
        StoreUnavailable: somebody works with his index or writes his documents, or a store does not answer.
    """
    if not is_there(settings):
        raise NotFound(f"there is nothing of a tenant {settings.tenant!r} here")
    records = open_records(settings)
    try:
        with _alone(records):
            records.audit.record(Deed(settings.tenant, by, Act.TENANT_REMOVED, request_id))
            kept = installation / FOLDER / f"{settings.tenant}-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"
            number = keep_audit(records, kept)
            indexes = remove_indexes(records)
            rows = remove_rows(records.catalog, settings.tenant)
    finally:
        records.close()
    try:
        shutil.rmtree(settings.home)
    except OSError as error:
        raise StoreUnavailable(f"the home {settings.home} of the removed tenant stays: {error.strerror}") from error
    return Removed(indexes, rows, number, kept)


def is_there(settings: Settings) -> bool:
    """Whether anything was ever begun for the tenant: a home, or rows of a catalog that he shares.

    Raises:
        Misconfigured, StoreUnavailable: that catalog cannot be opened.
    """
    if settings.home.exists():
        return True
    if not settings.catalog_url:
        return False
    with closing(Catalog.open(settings.catalog_url)) as catalog:  # and no home, which asking must not begin
        return settings.tenant in tenants_in(catalog)


def keep_audit(records: Records, folder: Path) -> int:
    """Copies the audit of a tenant into a new folder, on disk when this returns; how many records it has."""
    folder.mkdir(mode=0o700, parents=True)
    number = 0
    with open(os.open(folder / EVENTS, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        for number, each in enumerate(records.trail.entries(), start=1):  # noqa: B007  the last one counts them
            file.write(json.dumps(ocsf.event(each, {})) + "\n")
        file.flush()
        os.fsync(file.fileno())
    home = records.settings.home / AUDIT
    for beside in sorted(home.iterdir()):
        replace_private(folder / beside.name, beside.read_bytes())
    if records.settings.audit_key:
        replace_private(folder / "key", records.settings.audit_key.encode())
    _synced(folder)
    _synced(folder.parent)
    return number


@contextmanager
def _alone(records: Records) -> Iterator[None]:
    """Nobody has the tenant's index open or writes his documents until the block ends."""
    lock = index_lock(records.settings)
    lease = FileLease.take(lock, INDEX_HELD.format(folder=lock.parent))
    try:
        with records.catalog.lease(WRITING, records.settings.tenant):
            yield
    finally:
        lease.release()


def _synced(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
