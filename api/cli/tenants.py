"""How the tenants of an installation stand, and the removal of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from api.admission.local_operator import LOCAL_OPERATOR, LocalOperator
from rag.bootstrap import open_records
from rag.errors import KustosError, Misconfigured
from rag.home import refuse_closed
from rag.removal import is_there, remove_tenant
from rag.settings import Settings
from rag.tenants import FOLDER, NAME, bare, read_tenants

State = Literal["ready", "running", "new", "wrong", "not in the file"]


@dataclass(frozen=True, slots=True)
class Standing:
    """One tenant. `detail` says what is wrong, or what to do."""

    tenant: str
    state: State
    documents: int = 0
    passages: int = 0
    page: str = ""
    detail: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def states(base: Settings) -> list[Standing]:
    """Every tenant of the file, and whoever has a home here without being in it.

    Raises:
        Misconfigured: there is no file of tenants, or it is wrong; or as `refuse_closed` of the folder of their homes.
    """
    if not base.tenants:
        raise Misconfigured(
            "this installation has one tenant; KUSTOS_TENANTS names a file of several (docs/tenants.md)"
        )
    tenants = read_tenants(base)
    left = [Standing(each, "not in the file", detail=f"kustos tenants remove {each}") for each in _homes(base)]
    return [*map(_standing, tenants.values()), *(each for each in left if each.tenant not in tenants)]


def remove(base: Settings, name: str) -> dict[str, Any]:
    """Removes a tenant, whether the file still names him or not.

    Raises:
        Misconfigured: the installation has one tenant, this can be no tenant's name, or a service runs for him.
        NotFound, StoreUnavailable: as `rag.removal.remove_tenant`.
    """
    if not base.tenants:
        raise Misconfigured("this installation has one tenant; to remove him, remove the home folder and the database")
    settings = read_tenants(base).get(name) or bare(base, name)
    if LocalOperator.running_url(settings.home):
        raise Misconfigured(f"a service is running for {name}; stop it first, and take his table out of {base.tenants}")
    told = remove_tenant(settings, base.home, by=LOCAL_OPERATOR)
    return {"tenant": name, **asdict(told), "kept": str(told.kept)}


def _standing(settings: Settings) -> Standing:
    begins = "begins with the first ingest or serve"
    try:
        refuse_closed(settings.home)
        if not is_there(settings):
            return Standing(settings.tenant, "new", page=settings.page_url, detail=begins)
        records = open_records(settings)
        try:
            sources = records.status.sources()
        finally:
            records.close()
        running = LocalOperator.running_url(settings.home) is not None
    except KustosError as error:
        return Standing(settings.tenant, "wrong", page=settings.page_url, detail=str(error))
    documents, passages = sum(each.documents for each in sources), sum(each.passages for each in sources)
    return Standing(settings.tenant, "running" if running else "ready", documents, passages, settings.page_url)


def _homes(base: Settings) -> Iterator[str]:
    folder = base.home / FOLDER
    refuse_closed(folder)
    for each in sorted(folder.iterdir()) if folder.is_dir() else ():
        if each.is_dir() and NAME.fullmatch(each.name):
            yield each.name
