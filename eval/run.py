"""Runs a dataset or an access suite through Kustos as it is configured, from the corpus to the measures."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType

from eval.corpus import REALM, Corpus, memberships, principal_of
from eval.datasets import AccessSuite, Dataset, Query, User, may_read
from eval.installation import Installation, RememberingEmbedder, installed
from eval.leakage import AccessReport, Opened, audit
from eval.measures import mean_measures
from eval.originals import Originals
from eval.progress import Bars
from ingest.progress import Silent
from rag.access.scope import Caller
from rag.documents import Question
from rag.ports import OnProgress
from rag.retrieval import Mode, Request
from rag.settings import Settings

ANYONE = User("anyone", frozenset())


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """How well one way of searching ranks a dataset. `seconds` covers everything, from taking in to the last question.

    Attributes:
        refused: documents that could not be taken in; they stay part of the judgements.
        from_originals: how many of the documents were read out of original files; None where none were asked for.
    """

    dataset: str
    retriever: str
    documents: int
    queries: int
    measures: dict[str, float]
    model: str
    seconds: float
    refused: tuple[str, ...] = ()
    from_originals: int | None = None

    def as_json(self) -> dict[str, object]:
        originals = {} if self.from_originals is None else {"from_originals": self.from_originals}
        return {
            "dataset": self.dataset,
            "retriever": self.retriever,
            "documents": self.documents,
            "queries": self.queries,
            "measures": self.measures,
            "model": self.model,
            "seconds": self.seconds,
            **originals,
        }


def evaluate_retrieval(
    settings: Settings, dataset: Dataset, mode: Mode, bars: Bars, originals: Originals | None = None
) -> RetrievalReport:
    """Takes the corpus in, asks every judged query as somebody who may read everything, and measures the rankings.

    Documents that were cut from `originals` are not taken in themselves; passages of those files stand for them.

    Raises:
        ModelUnavailable: the embedding model is not here.
    """
    started = perf_counter()
    cut = originals.documents if originals else {}
    corpus = Corpus([each for each in dataset.documents if each.id not in cut], open_to_all=True)
    with installed(settings, corpus, bars, originals=originals) as installation:
        rankings = rank(settings, installation, dataset, mode, bars.asked)
        return RetrievalReport(
            dataset=dataset.name,
            retriever=mode.value,
            documents=len(dataset.documents),
            queries=len(dataset.queries),
            measures=mean_measures(dataset.relevance, rankings),
            model=installation.kustos.embedder.profile.model,
            seconds=round(perf_counter() - started, 1),
            refused=installation.refused,
            from_originals=len(cut) if originals else None,
        )


def rank(
    settings: Settings, installation: Installation, dataset: Dataset, mode: Mode, on_progress: OnProgress
) -> dict[str, list[str]]:
    """Documents found by each judged query, best first."""
    rankings = {}
    for query in dataset.queries:
        question = installation.kustos.retrieval.question(Request(query.text, mode=mode))
        rankings[query.id] = installation.found(_caller(settings, ANYONE), question)
        on_progress(1)
    return rankings


def audit_access(settings: Settings, suite: AccessSuite, bars: Bars) -> AccessReport:
    """Takes the corpus in with its rights and audits what each user is shown.

    Raises:
        ModelUnavailable: the embedding model is not here.
    """
    with installed(settings, Corpus(suite.documents, open_to_all=False), bars) as installation:
        installation.kustos.records.directory.replace(settings.tenant, REALM, memberships(suite.users))
        service = KustosService(settings, installation)
        with PermittedOnly(settings, suite, service, installation.embedder) as ideal:
            return audit(suite, service, ideal, bars.asked)


class KustosService:
    """The service under audit (`eval.leakage.Service`): gate, index and catalog as they run."""

    def __init__(self, settings: Settings, installation: Installation) -> None:
        self._settings = settings
        self._installation = installation
        self._questions: dict[str, Question] = {}

    def question(self, query: Query) -> Question:
        """The query as vectors, made once."""
        if query.id not in self._questions:
            self._questions[query.id] = self._installation.kustos.retrieval.question(Request(query.text))
        return self._questions[query.id]

    def found(self, user: User, query: Query) -> Sequence[str]:
        return self._installation.found(_caller(self._settings, user), self.question(query))

    def opened(self, user: User, document: str) -> Opened:
        return self._installation.opened(_caller(self._settings, user), document)


class PermittedOnly:
    """The ideal of the audit (`eval.leakage.Ideal`): for each user an installation of his own.

    It holds nothing but what `eval.datasets.may_read` gives him, open to everyone, so no access filter has any
    influence on the ranking. Made when it is first asked for a user, and given up for the next one.
    """

    def __init__(
        self, settings: Settings, suite: AccessSuite, service: KustosService, embedder: RememberingEmbedder
    ) -> None:
        self._settings = settings
        self._suite = suite
        self._service = service
        self._embedder = embedder
        self._stack = ExitStack()
        self._current: tuple[User, Installation] | None = None

    def __enter__(self) -> PermittedOnly:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def found(self, user: User, query: Query) -> Sequence[str]:
        return self._installation(user).found(_caller(self._settings, ANYONE), self._service.question(query))

    def _installation(self, user: User) -> Installation:
        if self._current is None or self._current[0] != user:
            self._stack.close()
            permitted = [each for each in self._suite.documents if may_read(user, each.access)]
            corpus = Corpus(permitted, open_to_all=True)
            opened = self._stack.enter_context(installed(self._settings, corpus, Silent(), self._embedder))
            self._current = (user, opened)
        return self._current[1]


def _caller(settings: Settings, user: User) -> Caller:
    """The user as a token shows him: his own principal; the groups come from the directory."""
    return Caller(settings.tenant, user.id, frozenset({principal_of(user)}))
