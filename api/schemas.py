"""What goes in and out over HTTP, field by field. Unknown fields are refused: an `acl` from outside is an error."""

from __future__ import annotations

from dataclasses import astuple
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.admission.key_issue import LIFETIME_DAYS, MOST_DAYS
from rag.documents import Document, Passage
from rag.retrieval import MAX_PASSAGES, MAX_QUESTION_CHARACTERS

WRITABLE = r"^[^\x00]*$"
"""What a database can keep."""

Names = Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(min_length=1, max_length=100)]

QueryId = Annotated[str, Field(min_length=1, max_length=200, pattern=WRITABLE)]
MOST_QUERIES = 50
"""Of one evaluation; who has more sends more of them."""
Judged = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=4_000, pattern=WRITABLE)],
        Annotated[int, Field(ge=0, le=1_000)],
    ],
    Field(min_length=1, max_length=1_000),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Narrow(_Body):
    """Further conditions. They narrow what the caller may read and can never widen it."""

    source_name: Names | None = Field(None, description="Only documents of these sources.", examples=[["hansekai"]])
    document: Names | None = Field(None, description="Only these documents, by id.")
    language: Names | None = Field(None, description="Only passages in these languages (ISO 639-1).", examples=[["de"]])

    def fields(self) -> dict[str, tuple[str, ...]]:
        """The index's own field names with the accepted values."""
        given = {"source": self.source_name, "document": self.document, "language": self.language}
        return {name: tuple(values) for name, values in given.items() if values is not None}


class SearchRequest(_Body):
    query: str = Field(
        min_length=1,
        max_length=MAX_QUESTION_CHARACTERS,
        description="The question, in any language of the documents.",
        examples=["Wie viel darf eine Hotelübernachtung kosten?"],
    )
    limit: int = Field(10, ge=1, le=MAX_PASSAGES, description="How many passages at most.")
    narrow: Narrow | None = None


class FoundPassage(_Reply):
    document: str = Field(description="Id of the document; opens at /v1/documents/{id}.")
    source: str = Field(description="Uri of the document.")
    title: str
    page: int | None = Field(description="Page or slide, from 1; null where the format has none.")
    heading_path: list[str] = Field(description="Headings above the passage, outermost first.")
    passage: int = Field(description="Number of the passage in its document, from 1.")
    text: str
    confidence: float | None = Field(
        description="Of character recognition, 0 to 1, where least sure; null where nothing had to be recognised."
    )
    rank: int = Field(description="From 1, best first. There are no scores.")
    language: str

    @classmethod
    def of(cls, passage: Passage) -> FoundPassage:
        return cls(**cited(passage), rank=passage.rank, language=passage.chunk.language)  # type: ignore[arg-type]


class SearchReply(_Reply):
    passages: list[FoundPassage]
    took_ms: int


class DocumentReply(_Reply):
    id: str
    source: str = Field(description="Uri of the document.")
    source_name: str = Field(description="Name of the source that it came from.")
    title: str
    media_type: str
    language: str
    version: str = Field(description="sha256 of the bytes that were read.")
    bytes: int
    modified_at: datetime | None
    passages: int = Field(description="How many passages it has; they open at /v1/documents/{id}/passages/{n}.")
    author: str = Field(description="As the file names it; empty where it does not.")
    created_at: datetime | None = Field(description="As the file says.")
    parent: str | None = Field(description="Id of the document that this one was attached to or packed into.")

    @classmethod
    def of(cls, document: Document) -> DocumentReply:
        return cls(
            id=document.id,
            source=document.uri,
            source_name=document.source,
            title=document.title,
            media_type=document.media_type,
            language=document.language,
            version=document.version,
            bytes=document.bytes,
            modified_at=document.modified_at,
            passages=document.passages,
            author=document.author,
            created_at=document.created_at,
            parent=document.parent_id,
        )


class DocumentList(_Reply):
    documents: list[DocumentReply]
    next: str | None = Field(description="Give it as `after` to get the next page; null on the last one.")


class PassageInContext(_Reply):
    passage: int
    page: int | None
    heading_path: list[str]
    text: str
    language: str
    confidence: float | None
    boxes: list[tuple[float, float, float, float]] = Field(
        description="Where it stands on its page: left, top, right, bottom as shares of the page's width and height."
    )

    @classmethod
    def of(cls, passage: Passage) -> PassageInContext:
        chunk = passage.chunk
        return cls(
            passage=chunk.ordinal,
            page=chunk.page,
            heading_path=list(chunk.heading_path),
            text=chunk.text,
            language=chunk.language,
            confidence=chunk.confidence,
            boxes=[astuple(each) for each in chunk.boxes],
        )


class PassageReply(_Reply):
    document: DocumentReply
    passage: int = Field(description="The passage that was asked for.")
    passages: list[PassageInContext] = Field(description="It and its neighbours, in the document's order.")


class Model(_Reply):
    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "kustos"


class ModelList(_Reply):
    object: Literal["list"] = "list"
    data: list[Model]


class Health(_Reply):
    status: Literal["alive"]


class Readiness(_Reply):
    status: Literal["ready"]
    admits: bool = Field(description="Whether the identity provider answers, without which nobody is let in.")
    reason: str | None = Field(description="Why not, or that the clocks differ; null if all is well.")


class SampleAccount(_Reply):
    name: str
    display_name: str
    about: str


class SampleAccounts(_Reply):
    accounts: list[SampleAccount]


class SignInRequest(_Body):
    account: str = Field(description="Name of a sample account.", max_length=200, examples=["anna"])


class SignInReply(_Reply):
    token: str
    expires_in: int = Field(description="Seconds.")


def cited(passage: Passage) -> dict[str, object]:
    """What search results and citations say alike of a passage."""
    return {
        "document": passage.document.id,
        "source": passage.document.uri,
        "title": passage.document.title,
        "page": passage.chunk.page,
        "heading_path": list(passage.chunk.heading_path),
        "passage": passage.chunk.ordinal,
        "text": passage.chunk.text,
        "confidence": passage.chunk.confidence,
    }


class PagePerson(_Reply):
    name: str
    subject: str


class PageSession(_Reply):
    """`sign_in`: whether people sign in at the page at all. `person`: who has, in the browser that asks."""

    sign_in: bool
    person: PagePerson | None


class SignOutReply(_Reply):
    """`everywhere`: whether the identity provider knows it too."""

    everywhere: bool


class EvaluationRequest(_Body):
    """Judged queries, as BEIR has them. A query without judgements, or judgements without a query, are an error."""

    queries: dict[QueryId, Annotated[str, Field(min_length=1, max_length=MAX_QUESTION_CHARACTERS)]] = Field(
        min_length=1, max_length=MOST_QUERIES, description="Texts by id.", examples=[{"q1": "Was kostet ein Hotel?"}]
    )
    qrels: dict[QueryId, Judged] = Field(
        description="For each query what is relevant: a document's id or address, and a grade above 0.",
        examples=[{"q1": {"file:///srv/share/travel.pdf": 1}}],
    )
    retriever: Literal["dense", "lexical", "hybrid"] = Field("hybrid", description="hybrid is how people search.")


class EvaluationReply(_Reply):
    queries: int
    retriever: str
    model: str = Field(description="The embedding model, whichever retriever was asked.")
    measures: dict[str, float] = Field(description="Means over the queries, rounded to 4 digits.")
    by_query: dict[str, dict[str, float]] = Field(description="The same of each query.")


class KeyRequest(_Body):
    name: str = Field(min_length=1, max_length=200, pattern=WRITABLE, description="What it is for, for people.")
    scopes: list[Literal["query", "evaluate"]] = Field(["query"], min_length=1, max_length=2)
    days: int = Field(LIFETIME_DAYS, ge=1, le=MOST_DAYS, description="How long it lives.")


class KeyReply(_Reply):
    id: str
    name: str
    subject: str
    scopes: list[str]
    state: str = Field(description="valid, expired or revoked.")
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")


class NewKeyReply(KeyReply):
    key: str = Field(description="The key. It is shown here once.")


class KeyList(_Reply):
    keys: list[KeyReply]
