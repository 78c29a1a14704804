"""JSON objects that mean one thing: what a token says, and what Keycloak says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping

Claims = Mapping[str, object]


def claims_in(data: bytes) -> Claims:
    """The JSON object that `data` holds.

    Raises:
        ValueError: it holds none, or an object in it has a name twice; readers differ in which of the two counts.
    """
    try:
        parsed = json.loads(data, object_pairs_hook=_unique)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if isinstance(parsed, dict):
        return parsed
    raise ValueError("not a JSON object")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a name twice")
    return found
