"""The shape of OpenAI's chat completions, as far as Kustos speaks it.

Parameters that steer a generator (`temperature`, `max_tokens`, ...) are accepted, because clients send them unasked,
and have no effect. What would change the meaning of the answer (`tools`, `n` above 1, a JSON schema, ...) is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.schemas import cited
from rag.answering import Inquiry
from rag.documents import Passage
from rag.errors import BadInput
from rag.retrieval import MAX_QUESTION_CHARACTERS

MAX_MESSAGES = 200
Ignored = Annotated[Any, Field(description="Accepted without effect.")]
Refused = Annotated[Any, Field(description="Not offered; anything but null, false or an empty list is refused.")]


class TextPart(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: str
    text: str | None = None


class Message(BaseModel):
    """One message. Only what the user wrote is read; earlier answers are accepted as clients keep them, and skipped."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[TextPart] | None = None
    name: Ignored = None
    refusal: Ignored = None
    annotations: Ignored = None
    kustos: Ignored = None
    audio: Ignored = None
    tool_calls: Ignored = None
    tool_call_id: Ignored = None
    function_call: Ignored = None

    def text(self) -> str:
        """The message's text.

        Raises:
            BadInput: it holds something else than text.
        """
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        if any(part.type != "text" or part.text is None for part in self.content):
            raise BadInput("messages may hold text only; leave images, audio and files out")
        return "\n".join(part.text or "" for part in self.content)


class ChatRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: str = Field(
        max_length=200,
        description="A public name, such as text-general. Where its model is not here, sentences are quoted.",
        examples=["text-general"],
    )
    messages: list[Message] = Field(
        min_length=1,
        max_length=MAX_MESSAGES,
        description="The last one, by the user, is the question; the user's one before helps with a follow-up.",
        examples=[[{"role": "user", "content": "Wie viel darf eine Hotelübernachtung kosten?"}]],
    )
    stream: bool | None = Field(False, description="Server-sent events, one piece of the answer each.")
    n: int | None = Field(1, description="Only 1.")
    response_format: dict[str, Any] | None = Field(None, description='Only {"type": "text"}.')
    modalities: list[str] | None = Field(None, description='Only ["text"].')

    frequency_penalty: Ignored = None
    logit_bias: Ignored = None
    max_completion_tokens: Ignored = None
    max_tokens: Ignored = None
    metadata: Ignored = None
    parallel_tool_calls: Ignored = None
    prediction: Ignored = None
    presence_penalty: Ignored = None
    prompt_cache_key: Ignored = None
    reasoning_effort: Ignored = None
    safety_identifier: Ignored = None
    seed: Ignored = None
    service_tier: Ignored = None
    stop: Ignored = None
    store: Ignored = None
    stream_options: Ignored = None
    temperature: Ignored = None
    top_p: Ignored = None
    user: Ignored = None
    verbosity: Ignored = None

    audio: Refused = None
    function_call: Refused = None
    functions: Refused = None
    logprobs: Refused = None
    tool_choice: Refused = None
    tools: Refused = None
    top_logprobs: Refused = None
    web_search_options: Refused = None

    def inquiry(self) -> Inquiry:
        """The question, with the user's question before it.

        Raises:
            BadInput: the request asks for something that is not offered, or does not end with a question.
        """
        self._check_offered()
        asked = [message.text() for message in self.messages if message.role == "user"]
        if self.messages[-1].role != "user" or not asked[-1].strip():
            raise BadInput("the last message must be the user's question, and not empty")
        if len(asked[-1]) > MAX_QUESTION_CHARACTERS:
            raise BadInput(f"the question is too long; at most {MAX_QUESTION_CHARACTERS} characters are read")
        previous = asked[-2] if len(asked) > 1 and asked[-2].strip() else None
        return Inquiry(asked[-1], previous, self.model)

    def _check_offered(self) -> None:
        for name in _REFUSED:
            if getattr(self, name) not in (None, False, 0, "none", []):
                raise BadInput(f"'{name}' is not offered here; leave it out")
        if self.n not in (None, 1):
            raise BadInput("'n' can only be 1: there is one answer to a question")
        if self.response_format not in (None, {"type": "text"}):
            raise BadInput("'response_format' can only be text")
        if self.modalities not in (None, ["text"]):
            raise BadInput("'modalities' can only be text")


_REFUSED = (
    "audio",
    "function_call",
    "functions",
    "logprobs",
    "tool_choice",
    "tools",
    "top_logprobs",
    "web_search_options",
)


@dataclass(frozen=True, slots=True)
class Head:
    """What every part of one reply begins with."""

    id: str
    created: int
    model: str

    def as_json(self, kind: str) -> dict[str, object]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def citations(cited_now: Mapping[int, Passage]) -> dict[str, object]:
    """The extension field `kustos`: the passages that the text cites, by number, as released a moment ago."""
    return {"citations": [{"number": number, **cited(each)} for number, each in sorted(cited_now.items())]}


def completion(head: Head, text: str, cited_now: Mapping[int, Passage]) -> dict[str, object]:
    """The reply without streaming."""
    message = {"role": "assistant", "content": text, "refusal": None, "kustos": citations(cited_now)}
    return {
        **head.as_json("chat.completion"),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
    }


def piece(head: Head, delta: dict[str, object]) -> dict[str, object]:
    """One chunk of a streamed reply, in the middle of it."""
    return {
        **head.as_json("chat.completion.chunk"),
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}],
    }


def last_piece(head: Head, cited_now: Mapping[int, Passage]) -> dict[str, object]:
    """The chunk that ends a streamed reply, with what was cited."""
    return {
        **head.as_json("chat.completion.chunk"),
        "choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}],
        "kustos": citations(cited_now),
    }
