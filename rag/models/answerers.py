"""Chooses what answers at this moment: a model that is here, or the extractive answerer."""

from __future__ import annotations

from rag.errors import NotFound
from rag.models.extractive import MODEL as EXTRACTIVE
from rag.models.extractive import ExtractiveAnswerer
from rag.models.ollama import OllamaAnswerer, OllamaModels
from rag.models.registry import Capability, Present, Runtime, ServedModel
from rag.ports import Answerer

_WRITES = frozenset({Capability.CHAT, Capability.REASONING})


class Answerers:
    """Maps public model names to answerers, by what Ollama has right now."""

    def __init__(self, ollama: OllamaModels, extractive: ExtractiveAnswerer, served: tuple[ServedModel, ...]) -> None:
        self._ollama = ollama
        self._extractive = extractive
        self._served = {each.name: each for each in served if each.capabilities & _WRITES}

    def names(self) -> list[str]:
        """Public names that answer now, `extractive` always among them."""
        return [*(name for name in self._served if self._available(name)), EXTRACTIVE]

    def choose(self, name: str) -> Answerer:
        """What answers under a public name; the extractive answerer where its model is not here.

        Raises:
            NotFound: no such public name.
        """
        if name == EXTRACTIVE:
            return self._extractive
        if name not in self._served:
            known = ", ".join([*self._served, EXTRACTIVE])
            raise NotFound(f"there is no model {name!r}; there are {known}")
        if not self._available(name):
            return self._extractive
        return OllamaAnswerer(name, self._served[name].model, self._ollama.url)

    def _available(self, name: str) -> bool:
        present = Present(frozenset(), self._ollama.names())
        return self._served[name].runtime is Runtime.OLLAMA and self._served[name].available(present)
