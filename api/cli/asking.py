"""Asks a question and collects the streamed answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from api.cli.connection import checked, proof
from api.cli.output import out, plain
from rag.errors import Unavailable
from rag.settings import Settings

SURE = 0.8
"""Confidence of character recognition from which on nothing is said; clean scans reach .9 and more."""


@dataclass(slots=True)
class Told:
    """An answer as the service gave it."""

    question: str
    who: str
    model: str = ""
    text: str = ""
    citations: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {"question": self.question, "model": self.model, "answer": self.text, "citations": self.citations}


def ask(
    client: httpx.Client,
    settings: Settings,
    question: str,
    who: str | None,
    model: str = "text-general",
    *,
    on_text: Callable[[str], None] | None = None,
) -> Told:
    """The answer for a sample account, or for who has signed in; `on_text` gets its pieces as they arrive.

    Raises:
        KustosError: the service refused, or broke off in the middle.
    """
    told = Told(question, who or "")
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": question}]}
    with client.stream("POST", "/v1/chat/completions", json=body, headers=proof(settings, who)) as response:
        for line in checked(response).iter_lines():
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            _take(json.loads(line.removeprefix("data: ")), told, on_text)
    return told


def citation_line(citation: dict[str, Any]) -> str:
    """One line that says where a passage stands: number, document, page, slide or section."""
    page = "slide" if citation["source"].lower().endswith(".pptx") else "page"
    place = f"{page} {citation['page']}" if citation["page"] else " › ".join(citation["heading_path"][-1:])
    doubt = "recognised with doubt" if is_doubtful(citation["confidence"]) else ""
    return plain(f"[{citation['number']}] " + ", ".join(each for each in (citation["title"], place, doubt) if each))


def is_doubtful(confidence: float | None) -> bool:
    """Whether character recognition was so unsure of a passage that its reader should look at the page."""
    return confidence is not None and confidence < SURE


def print_citations(told: Told) -> None:
    for citation in told.citations:
        out.print(citation_line(citation), style="dim", markup=False)


def _take(event: dict[str, Any], told: Told, on_text: Callable[[str], None] | None) -> None:
    if "error" in event:
        raise Unavailable(f"the answer broke off: {event['error']['message']}")
    told.model = event.get("model", told.model)
    told.citations = event.get("kustos", {}).get("citations", told.citations)
    for choice in event.get("choices", []):
        piece = choice["delta"].get("content") or ""
        told.text += piece
        if piece and on_text:
            on_text(plain(piece))
