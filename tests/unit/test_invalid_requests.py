"""A request that does not fit hears which field is wrong and what would do, in our words and not in a library's."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import pytest
from fastapi.testclient import TestClient
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from api.invalid_requests import in_words
from tests.library import OPERATOR, SALES, Written, open_library, person

ANN, AUDITOR = person("ann", groups=["/sales"]), person("aud", duties=["auditor"])
LENA = {"Authorization": f"Bearer {OPERATOR.key}"}


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    number: int = Field(1, ge=1, le=9)


class Request(BaseModel):
    """One field of every kind that routes have."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str = Field("abc", min_length=2, max_length=4, pattern="^[a-z]*$")
    name: str = Field("a", min_length=1)
    names: Annotated[list[str], Field(min_length=1, max_length=2)] = ["a"]
    several: Annotated[list[int], Field(min_length=2)] = [1, 2]
    share: float = 0.5
    yes: bool = True
    kind: Literal["a", "b"] = "a"
    at: AwareDatetime | None = None
    either: str | list[str] | None = None
    inner: Inner | None = None
    more: dict[str, Any] | None = None


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"text": 1}, "'text' must be a text."),
        ({"text": "a"}, "'text' must have 2 characters or more."),
        ({"text": "abcde"}, "'text' must have 4 characters at most."),
        ({"text": "a\0b"}, "'text' holds characters, or has a form, that it cannot have."),
        ({"name": ""}, "'name' must not be empty."),
        ({"names": []}, "'names' must not be empty."),
        ({"names": ["a"] * 3}, "'names' must have 2 entries at most."),
        ({"names": "a"}, "'names' must be a list."),
        ({"names": [1]}, "'names.0' must be a text."),
        ({"several": [1]}, "'several' must have 2 entries or more."),
        ({"share": "x"}, "'share' must be a number."),
        ({"yes": "x"}, "'yes' must be true or false."),
        ({"kind": "c"}, "'kind' must be 'a' or 'b'."),
        ({"at": datetime(2026, 5, 1)}, "'at' must be a time with its zone, like 2026-05-01T08:00:00Z."),
        ({"at": "today"}, "'at' must be a time with its zone, like 2026-05-01T08:00:00Z."),
        ({"either": 1}, "'either' must be a text."),
        ({"inner": {"number": 0}}, "'inner.number' must be 1 or more."),
        ({"inner": {"number": 10}}, "'inner.number' must be 9 or less."),
        ({"inner": {"number": "1"}}, "'inner.number' must be a whole number."),
        ({"inner": 1}, "'inner' must be an object."),
        ({"inner": {"other": 1}}, "'inner.other' is not a field of this request; leave it out."),
        ({"more": 1}, "'more' must be an object."),
    ],
    ids=lambda each: str(each)[:40],
)
def test_each_rule_is_said_in_words_with_its_field(body: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Request.model_validate(body)
    (error, *_) = caught.value.errors()
    assert in_words({**error, "loc": ("body", *error["loc"])})[0] == sentence


@pytest.mark.parametrize(
    ("method", "path", "options", "field"),
    [
        ("POST", "/v1/search", {"json": {"query": ""}}, "query"),
        ("POST", "/v1/chat/completions", {"json": {"model": "x", "messages": []}}, "messages"),
        ("POST", "/v1/chat/completions", {"json": {"model": "x", "messages": [{"role": "x"}]}}, "messages.0.role"),
        ("POST", "/v1/chat/completions", {"json": {"model": "x", "messages": [{"role": "user", "content": 1}]}},
         "messages.0.content"),
        ("POST", "/v1/keys", {"json": {"name": "", "days": 900}}, "name"),
        ("POST", "/v1/keys", {"json": {"name": "x", "scopes": ["push"]}}, "scopes.0"),
        ("GET", "/v1/documents?limit=x", {}, "limit"),
        ("GET", "/v1/audit/events?since=today", {"headers": AUDITOR}, "since"),
        ("GET", "/v1/audit/events?since=2026-05-01", {"headers": AUDITOR}, "since"),
        ("GET", "/v1/audit/events?names=x", {"headers": AUDITOR}, "names"),
        ("GET", "/v1/audit/verdict?noted=1", {"headers": AUDITOR}, "noted"),
        ("GET", "/v1/admin/explain?document=x&as=", {"headers": LENA}, "as"),
        ("GET", "/v1/admin/explain?document=x&as=ann&at=soon", {"headers": LENA}, "at"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)  # fmt: skip
def test_every_route_says_it_so(tmp_path, method, path, options, field) -> None:
    app = open_library(tmp_path, Written("a.txt", ["A"], frozenset({SALES}))).app()
    reply = TestClient(app, base_url="http://127.0.0.1").request(method, path, **{"headers": ANN, **options})
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (422, field)
    assert error["message"].startswith(f"'{field}' ")
    assert "should" not in error["message"]
    assert "Input" not in error["message"]
