"""The schema of access files, pure: names and bytes in, rights out, no file system. Manual: `docs/access-files.md`.

`_access.yaml` in a folder governs the folder and everything below it; `NAME.access.yaml` beside the file `NAME` governs
that file alone. Strict on purpose: a key that is not understood may be a right that somebody meant to take away, so it
refuses the whole file, and then nobody reads what the file governs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml

from connectors.names import component
from rag.access import principals
from rag.access.acl import Acl
from rag.access.principals import EVERYONE_IN_TENANT, Principal
from rag.errors import BadAccessFile, BadPrincipal

MAX_BYTES = 64 * 1024
FOLDER_FILE = "_access.yaml"
FILE_SUFFIX = ".access.yaml"
VERSION = "1"

_MAX_DEPTH = 4  # file > list of entries > entry > client_role
_KEYS = ("kustos_access", "realm", "inherit", "allow", "deny")
_KINDS = ("group", "role", "client_role", "user", "principal")
# Slips of the pen count as access files too, because `_access.yml` was meant to restrict something; and so does what an
# editor leaves between the two steps of replacing a file, because the folder is not without rights in that moment.
_NAME = re.compile(
    r"(?:_access|(?P<target>.*)\.access)\.ya?ml(?P<leftover>~|#|\.(?:bak|backup|tmp|temp|old|orig|new|save|swp|part))?",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class AccessFile:
    """What one access file says. `inherit`: the rights of the nearest governing folder above apply too."""

    inherit: bool
    allow: frozenset[Principal]
    deny: frozenset[Principal]

    def over(self, above: Acl) -> Acl:
        """Effective rights: united with those above where it inherits, else its own alone."""
        if not self.inherit:
            return Acl(self.allow, self.deny)
        return Acl(self.allow | above.allow, self.deny | above.deny)


def governed_by(name: str) -> str | None:
    """What an access file called `name` governs: the name of a file, "" for its folder; None for any other name."""
    match = _NAME.fullmatch(name) if "access" in name.casefold() else None  # nearly no name is, so that is asked first
    return (match["target"] or "") if match else None


def choose(target: str, names: Sequence[str], where: str) -> str:
    """The one of `names`, all of them governing `target`, that is to be read; `where` is their folder, for messages.

    Raises:
        BadAccessFile: one is misspelt, or only the leftover of an editor is there.
    """
    right = target + FILE_SUFFIX if target else FOLDER_FILE
    for name in names:
        match = _NAME.fullmatch(name)
        if name != right and not (match and match["leftover"]):
            raise BadAccessFile(
                f"{where}{component(name)}: an access file must be called {component(right)}, in exactly these letters"
            )
    if right not in names:
        copy = component(names[0])
        raise BadAccessFile(
            f"{where}{copy}: looks like a copy of {component(right)}, which is missing; restore or delete"
        )
    return right


def parse(data: bytes, where: str) -> AccessFile:
    """The rights in an access file; `where` names it in messages.

    Raises:
        BadAccessFile: with the file, and the line where there is one.
    """
    if len(data) > MAX_BYTES:
        raise BadAccessFile(f"{where}: larger than {MAX_BYTES // 1024} KB")
    try:
        root: Any = yaml.compose(data.decode("utf-8-sig"), Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise BadAccessFile(f"{where}{line}: {error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:  # PyYAML lets ValueError out for \U00FFFFFF; bad UTF-8 is one too
        raise BadAccessFile(f"{where}: not YAML in UTF-8: {str(error).splitlines()[0]}") from error
    if root is None:
        raise BadAccessFile(f"{where}: empty; write at least kustos_access: {VERSION}")
    return _Reading(where).file(root)


class _StrictLoader(yaml.SafeLoader):
    """Nodes only, no objects; refuses what access files do not need: anchors, aliases, tags and deep nesting."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise yaml.MarkedYAMLError(problem="anchors and aliases are not accepted", problem_mark=event.start_mark)
        if event.tag is not None:
            raise yaml.MarkedYAMLError(problem="tags are not accepted", problem_mark=event.start_mark)
        if self.depth > _MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


@dataclass(frozen=True, slots=True)
class _Reading:
    """Turns the nodes of one file into rights; keeps the file's name for the messages."""

    where: str

    def file(self, root: yaml.Node) -> AccessFile:
        fields = self._mapping(root, _KEYS)
        self._check_version(root, fields)
        realm = self._text(fields["realm"]) if "realm" in fields else None
        return AccessFile(
            inherit=self._bool(fields["inherit"]) if "inherit" in fields else True,
            allow=self._principals(fields.get("allow"), realm),
            deny=self._principals(fields.get("deny"), realm),
        )

    def _check_version(self, root: yaml.Node, fields: dict[str, yaml.Node]) -> None:
        version = fields.get("kustos_access")
        if version is None:
            self._fail(root, f"the key kustos_access is missing; write kustos_access: {VERSION}")
        if version.value != VERSION:
            self._fail(version, f"kustos_access must be {VERSION}, the only version of the schema so far")

    def _principals(self, node: yaml.Node | None, realm: str | None) -> frozenset[Principal]:
        if node is None:
            return frozenset()
        if not isinstance(node, yaml.SequenceNode):
            self._fail(node, "allow and deny must be lists; write [] for an empty one")
        return frozenset(self._entry(entry, realm) for entry in node.value)

    def _entry(self, node: yaml.Node, realm: str | None) -> Principal:
        if isinstance(node, yaml.ScalarNode):
            if node.value != "everyone":
                self._fail(
                    node, f"{node.value!r} is no entry; write everyone, or one of {', '.join(_KINDS)} with a name"
                )
            return EVERYONE_IN_TENANT
        fields = self._mapping(node, _KINDS)
        if len(fields) != 1:
            self._fail(node, "an entry names exactly one principal; begin each with a dash of its own")
        ((kind, value),) = fields.items()
        try:
            return self._principal(kind, value, realm)
        except BadPrincipal as error:
            self._fail(node, str(error))

    def _principal(self, kind: str, node: yaml.Node, realm: str | None) -> Principal:
        if kind == "principal":
            return principals.parse(self._text(node))
        if realm is None:
            self._fail(node, f"{kind} needs the key realm, the realm that qualifies it")
        if kind == "client_role":
            parts = self._mapping(node, ("client", "role"))
            if len(parts) != 2:
                self._fail(node, "client_role needs both client and role")
            return principals.client_role(realm, self._text(parts["client"]), self._text(parts["role"]))
        make = {"group": principals.group, "role": principals.realm_role, "user": principals.user}[kind]
        return make(realm, self._text(node))

    def _mapping(self, node: yaml.Node, allowed: tuple[str, ...]) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            self._fail(node, f"expected key: value with the keys {', '.join(allowed)}")
        fields: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = self._text(key)
            if name not in allowed:
                self._fail(key, f"unknown key {name!r}; the keys here are {', '.join(allowed)}")
            if name in fields:
                self._fail(key, f"the key {name!r} stands twice")
            fields[name] = value
        return fields

    def _text(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:str":
            self._fail(node, "expected a text; put it in quotes if it looks like a number, a date or yes and no")
        text = str(node.value)
        if not text or any("\ud800" <= character <= "\udfff" for character in text):
            self._fail(node, "a text may be neither empty nor hold half a character (surrogate)")
        return text

    def _bool(self, node: yaml.Node) -> bool:
        if not isinstance(node, yaml.ScalarNode) or node.value not in ("true", "false"):
            self._fail(node, "inherit must be true or false")
        return bool(node.value == "true")

    def _fail(self, node: yaml.Node, problem: str) -> NoReturn:
        raise BadAccessFile(f"{self.where}, line {node.start_mark.line + 1}: {problem}")
