"""What it adds to a question that Keycloak is asked beside it what the caller may read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import click
import httpx
import numpy as np

from api.app import create_app
from api.cli.connection import privately
from api.cli.revocation import REALM_FILE
from api.keycloak_realm.memberships import open_memberships
from api.keycloak_realm.trial_realm import Administrator, trial_realm
from api.tokens.auth import AsIssued, Identity, Issuer, Verified, Worth
from api.tokens.issuers import issuer_of
from eval.bench.__main__ import write_documents
from eval.bench.figures import Figure, percentile, plain, within
from eval.bench.synthetic import FOLDERS, SEED, SOURCE, TENANT, company
from eval.progress import progress_bar
from rag.access.acl import Acl
from rag.access.principals import EVERYONE_IN_TENANT
from rag.access.scope import Caller
from rag.bootstrap import Kustos, open_kustos
from rag.documents import SparseVector
from rag.errors import KustosError
from rag.ports import LexicalEncoder
from rag.retrieval import Retrieval
from rag.settings import Settings

DOCUMENTS = 500
QUESTIONS = 300
WARM_UP = 20
ASKED_FIRST = 30_000  # Java compiles in several steps what it has done so often
A_MINUTE = 6_000
WORDS = 8
GOAL_MS = 1.0


class _Answered:
    """What a token is worth, and when each question about it was answered."""

    def __init__(self, worth: Worth) -> None:
        self._worth = worth
        self.forget = worth.forget
        self.at: list[float] = []

    def caller(self, token: Verified) -> Future[Caller]:
        asked = self._worth.caller(token)
        asked.add_done_callback(lambda _: self.at.append(perf_counter()))
        return asked


class _Encoded:
    """The last step of encoding a question, and when each was done."""

    def __init__(self, lexical: LexicalEncoder) -> None:
        self._lexical = lexical
        self.document = lexical.document
        self.at: list[float] = []

    def question(self, text: str, languages: Sequence[str]) -> SparseVector:
        vector = self._lexical.question(text, languages)
        self.at.append(perf_counter())
        return vector


class NotAnswered(KustosError):
    """A question that is to be timed brought nothing."""

    code = "not_answered"


@dataclass(frozen=True, slots=True)
class _Side:
    """A service, and the milliseconds of each question to it."""

    client: httpx.Client
    times_ms: list[float] = field(default_factory=list)

    def ask(self, question: str, header: dict[str, str]) -> None:
        started = perf_counter()
        reply = self.client.post("/v1/search", json={"query": question}, headers=header)
        self.times_ms.append(1_000 * (perf_counter() - started))
        if not reply.is_success or not reply.json()["passages"]:
            raise NotAnswered(f"status {reply.status_code}: {reply.text[:200]}")


def confirming_figures(url: str, password: str, settings: Settings) -> Iterator[Figure]:
    """Questions over HTTP to three services over the same documents.

    One asks Keycloak what the token is worth and for its holder's groups, as every installation does; one asks the
    first alone; and one believes the token.

    Raises:
        NotAnswered: a question brought nothing.
    """
    if not url:
        click.echo("keycloak: not measured, because there is none here; see: make services", err=True)
        return
    with ExitStack() as stack:
        admin = stack.enter_context(closing(Administrator(url, "admin", password)))
        realm = stack.enter_context(trial_realm(admin, REALM_FILE, 1))
        home = Path(stack.enter_context(TemporaryDirectory(prefix="kustos-bench-")))
        told = Settings.from_mapping(realm.environment())
        own = replace(told, home=home, tenant=TENANT, requests_per_subject=A_MINUTE)
        kustos = stack.enter_context(closing(open_kustos(replace(own, models_dir=settings.models_dir))))
        _fill(kustos)
        issuer = issuer_of(own, open_memberships(own, kustos.records.realm))
        token = realm.token(realm.people[0])
        alone = _alone(issuer, token)
        answered, encoded = _Answered(issuer.worth), _Encoded(kustos.lexical)
        timed = Retrieval(kustos.gate, kustos.embedder, encoded, kustos.detector, lambda _: True)
        asks, introspects, believes = (
            _Side(stack.enter_context(privately(create_app(service, Identity([who]), None, None))))
            for service, who in (
                (replace(kustos, retrieval=timed), replace(issuer, worth=answered)),
                (kustos, issuer_of(own)),
                (kustos, replace(issuer, worth=AsIssued())),
            )
        )
        _in_turns((asks, introspects, believes), {"Authorization": f"Bearer {token}"})
        yield from _figures(asks, introspects, believes)
        waited = [1_000 * max(0.0, late - ready) for late, ready in zip(answered.at, encoded.at, strict=True)]
        yield within("waiting for Keycloak once the question is encoded, p50", percentile(waited, 50), "ms", GOAL_MS)
        yield plain("asking Keycloak and nothing else, p50", percentile(alone, 50), "ms")


def _fill(kustos: Kustos) -> None:
    """Documents that everybody may read."""
    open_to_all = replace(company(), acls=(Acl.of(allow={EVERYONE_IN_TENANT}),) * (FOLDERS + 1))
    kustos.records.writer.set_places(SOURCE, open_to_all.places())
    write_documents(kustos, list(islice(open_to_all.documents(), DOCUMENTS)))
    kustos.index_writer.settle()


def _in_turns(sides: Sequence[_Side], header: dict[str, str]) -> None:
    random, words = np.random.default_rng(SEED + 8), company().words
    with progress_bar("questions", QUESTIONS) as advance:
        for number in range(WARM_UP + QUESTIONS):
            question = " ".join(words[int(each)] for each in random.integers(len(words), size=WORDS))
            first = number % len(sides)
            for side in (*sides[first:], *sides[:first]):
                side.ask(question, header)
            advance(number >= WARM_UP)


def _alone(issuer: Issuer, token: str) -> list[float]:
    """Milliseconds of asking Keycloak when nothing else is done, once it is warm."""
    identity, times = Identity([issuer]), []
    with progress_bar("Keycloak", ASKED_FIRST + QUESTIONS) as advance:
        for _ in range(ASKED_FIRST + QUESTIONS):
            started = perf_counter()
            identity.caller(token)
            times.append(1_000 * (perf_counter() - started))
            advance(1)
    return times[ASKED_FIRST:]


def _figures(asks: _Side, introspects: _Side, believes: _Side) -> Iterator[Figure]:
    for percent in (50, 95):
        both, one, none = (percentile(each.times_ms[WARM_UP:], percent) for each in (asks, introspects, believes))
        yield plain(f"question that believes the token, p{percent}", none, "ms")
        yield plain(f"question beside which Keycloak is asked, p{percent}", both, "ms")
        if percent == 50:
            yield within("added to a question by introspection beside it, p50", one - none, "ms", GOAL_MS)
            yield plain("added to a question by introspection and groups beside it, p50", both - none, "ms")
