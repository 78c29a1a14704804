"""What is wrong with a request that does not fit its schema, in a sentence for whoever sent it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TIME = "must be a time with its zone, like 2026-05-01T08:00:00Z"
_OBJECT = "must be an object"
_NUMBER, _WHOLE, _TRUTH = "must be a number", "must be a whole number", "must be true or false"
_RULES = {
    "string_type": "must be a text",
    "string_unicode": "must be valid Unicode",
    "string_too_short": "must have {min_length} characters or more",
    "string_too_long": "must have {max_length} characters at most",
    "string_pattern_mismatch": "holds characters, or has a form, that it cannot have",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "bool_type": _TRUTH,
    "bool_parsing": _TRUTH,
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "list_type": "must be a list",
    "too_short": "must have {min_length} entries or more",
    "too_long": "must have {max_length} entries at most",
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "literal_error": "must be {expected}",
    "timezone_aware": _TIME,
    "datetime_type": _TIME,
    "datetime_parsing": _TIME,
    "datetime_object_invalid": _TIME,
    "datetime_from_date_parsing": _TIME,
}
"""By pydantic's name of a rule, with the places of its `ctx`."""
_OF_A_UNION = frozenset({"str", "int", "bool"})


def in_words(error: Mapping[str, Any]) -> tuple[str, str | None]:
    """A sentence about one of pydantic's errors, and the field that it is about; None where that is the request."""
    parts = [str(part) for part in error["loc"][1:]]  # the first part says body, query or path
    where = ".".join(parts[:-1] if parts and parts[-1] in _OF_A_UNION else parts)
    match error["type"]:
        case "extra_forbidden":
            sentence = f"'{where}' is not a field of this request; leave it out."
        case "missing":
            sentence = f"'{where}' is missing; add it." if where else "The body is missing; send a JSON object."
        case "json_invalid":
            sentence = f"The body is not valid JSON: {error['ctx']['error']} at position {where}."
            where = ""
        case "model_attributes_type" if not where:
            sentence = "The body is not a JSON object; send one, with 'Content-Type: application/json'."
        case _:
            sentence = f"'{where}' {_rule(error)}." if where else f"The request {_rule(error)}."
    return sentence, where or None


def _rule(error: Mapping[str, Any]) -> str:
    given = error.get("ctx", {})
    if given.get("min_length") == 1:
        return "must not be empty"
    rule = _RULES.get(error["type"])
    return rule.format(**given) if rule else f"is not accepted: {error['msg']}"
