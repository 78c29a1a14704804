"""Open Packaging Conventions (ECMA-376 part 2): parts of an Office package and what they point to."""

from __future__ import annotations

import posixpath

from ingest.parsers.damage import damaged
from ingest.parsers.markup import Node, attribute, parse_xml
from ingest.parsers.packages import Package
from ingest.parsers.properties import CORE_PART, Properties, dublin_core

MAIN_RELATION = "officeDocument"


class OfficePackage(Package):
    """A package whose parts are found through relations; targets outside the package are never followed (IN-08)."""

    def main_part(self) -> str:
        """Name of the part that everything else hangs on."""
        for kind, target in self.relations("").values():
            if kind == MAIN_RELATION:
                return target
        raise damaged("the package does not name its main part")

    def relations(self, part: str) -> dict[str, tuple[str, str]]:
        """Relations of a part by their id: last word of the relation's type, and name of the target part."""
        folder, name = posixpath.split(part)
        data = self.find(posixpath.join(folder, "_rels", f"{name}.rels"))
        if not data:
            return {}
        inside = (
            each for each in parse_xml(data).iterchildren("{*}Relationship") if each.get("TargetMode") != "External"
        )
        return {each.get("Id", ""): (_kind(each), _resolved(folder, each.get("Target", ""))) for each in inside}

    def related(self, part: str, kind: str) -> list[Node]:
        """Root elements of the parts that `part` is related to by `kind`, in the order of its relations."""
        targets = dict.fromkeys(target for each, target in self.relations(part).values() if each == kind)
        return [parse_xml(data) for target in targets if (data := self.find(target))]

    def properties(self) -> Properties:
        core = self.find(CORE_PART)
        return dublin_core(parse_xml(core)) if core else Properties()


def _kind(relation: Node) -> str:
    return str(attribute(relation, "Type").rpartition("/")[2])


def _resolved(folder: str, target: str) -> str:
    if target.startswith("/"):
        return target.lstrip("/")
    return posixpath.normpath(posixpath.join(folder, target))
