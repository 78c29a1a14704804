"""An audit over a catalog, with a key that tests know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rag.access.audit_chain import Seal
from rag.stores.audit_notes import Notes
from rag.stores.catalog import Catalog
from rag.stores.catalog_audit import CatalogAudit
from rag.stores.catalog_audit_trail import AuditTrail

SEAL = Seal(b"the key of these tests, 32 bytes")
TENANT = "main"


def open_audit(catalog: Catalog, home: Path, **options: Any) -> CatalogAudit:
    return CatalogAudit(catalog, SEAL, Notes(home), **options)


def open_trail(catalog: Catalog, home: Path, tenant: str = TENANT) -> AuditTrail:
    return AuditTrail(catalog, SEAL, Notes(home), tenant)
