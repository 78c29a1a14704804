"""A part of the long random check; the whole is `make security LONG=1`."""

from __future__ import annotations

import os
from pathlib import Path
from random import SystemRandom

import pytest

from rag.documents import acl_id, document_id
from tests.effort import times
from tests.security.random_access import SOURCE, Company, Wrong, checked
from tests.security.reference import EVERYONE, Rights

CHECKS = times(10_000)
SEED = int(os.environ.get("KUSTOS_TEST_SEED") or SystemRandom().randrange(2**32))


@pytest.fixture
def company(tmp_path: Path):
    opened = Company(tmp_path, SEED)
    yield opened
    opened.close()


def test_mt_01_and_mt_03_and_rm_03_random_companies_are_read_as_the_reference_says(company) -> None:
    try:
        checked(company, CHECKS)
    except Wrong as wrong:
        pytest.fail(f"{wrong}; repeat with KUSTOS_TEST_SEED={SEED}")
    assert min(company.checks.values()) >= CHECKS // 5


@pytest.mark.parametrize(
    ("rights", "fault"),
    [(Rights(), "LEAK"), (Rights(frozenset({EVERYONE})), "WRONGLY DENIED")],
    ids=["the product gives too much", "the product gives too little"],
)
def test_the_check_above_can_fail_because_it_sees_one_right_that_differs(company, rights, fault) -> None:
    opened = Rights() if fault == "WRONGLY DENIED" else Rights(frozenset({EVERYONE}))
    (tenant, *_) = company.tenants
    company._set(tenant, "place 0", opened)
    company._write(tenant)
    name = sorted(tenant.documents)[0]
    tenant.documents[name] = "place 0"
    company._writer(tenant).regovern({document_id(tenant.name, SOURCE, name): acl_id(tenant.name, SOURCE, "place 0")})
    company._follow(tenant)
    tenant.places["place 0"] = rights
    with pytest.raises(Wrong, match=fault):
        company._check(tenant, frozenset({"kc:acme:user:ann"}))
