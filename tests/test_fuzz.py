"""Whatever stands in a file: a value, or one of our errors; never another exception, never without end.

Every property has a fast form, always the same examples, and a slow one (-m slow) that looks for new ones:
about ten minutes together, or as many examples as RESURFACE_FUZZ says.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resurface import artifacts, benchmark_texts, hub_datasets, models, recipe, texts
from resurface import fingerprints as hashes
from resurface.config import Config
from resurface.errors import ResurfaceError
from resurface.lab import settings as worlds
from resurface.memorization import ExtractConfig
from resurface.models import ModelConfig
from resurface.pipeline import ranking
from resurface.pipeline.verdict import _controls
from resurface.subsets import start_of
from resurface.tables import CORPUS_SCHEMA, read_corpus, read_parquet, write_parquet

LONGEST_MESSAGE = 2500
"""Characters of an error; its quotes are cut, but it may list names."""


def fuzz(
    fast: int, *strategies: st.SearchStrategy[Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A test of `fast` fixed examples; `slow_of` makes the long form of it."""

    def decorate(check: Callable[..., None]) -> Callable[..., None]:
        how: dict[str, Any] = dict(deadline=None, database=None, suppress_health_check=list(HealthCheck))
        with_data = given(*strategies)
        SLOW[check.__name__] = settings(max_examples=int(os.environ.get("RESURFACE_FUZZ", 40 * fast)), **how)(
            with_data(check)
        )
        return settings(max_examples=fast, derandomize=True, **how)(
            with_data(functools.wraps(check)(_same(check)))
        )

    return decorate


def _same(check: Callable[..., None]) -> Callable[..., None]:
    return lambda *args, **named: check(*args, **named)


SLOW: dict[str, Callable[..., None]] = {}


@contextlib.contextmanager
def ours(*, values: tuple[type[BaseException], ...] = ()) -> Any:
    """Only our errors may come out, and no message floods a terminal."""
    try:
        yield
    except ResurfaceError as e:
        assert len(str(e)) < LONGEST_MESSAGE, f"{len(str(e))} characters: {str(e)[:300]}"
    except values:
        pass


# ------------------------------------------------------------------------------ what is put in

ODD = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        -1,
        1,
        2**31,
        2**63,
        10**30,
        10**400,
        0.0,
        -0.5,
        1e308,
        float("inf"),
        float("nan"),
        "",
        "x",
        "\ud800",
        "\0",
        "../../x",
        "x" * 5000,
        "é" * 300,
        [],
        {},
        [[]],
        [None],
        {"x": 1},
        [1, "a"],
        ["a", "a"],
        {"": ""},
        "2020-13-45",
        "1:30",
        "1e5",
        "None",
    ]
)
JSON = st.recursive(
    ODD | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def changed(data: Any, draw: Callable[[st.SearchStrategy[Any]], Any]) -> Any:
    """Plain data with one of its values, at any depth, replaced, removed or added to."""
    data = json.loads(json.dumps(data))
    place, key = data, None
    while isinstance(place, dict | list) and place:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys[:60]))
        if not isinstance(place[key], dict | list) or not place[key] or draw(st.integers(0, 3)) == 0:
            break
        place = place[key]
    if key is None:
        return draw(JSON)
    what = draw(st.sampled_from(["replace", "remove", "add"]))
    if what == "remove":
        del place[key]
    elif what == "add" and isinstance(place, dict):
        place[draw(st.text(max_size=10))] = draw(JSON)
    else:
        place[key] = draw(JSON)
    return data


def damaged(data: bytes, draw: Callable[[st.SearchStrategy[Any]], Any]) -> bytes:
    """Bytes with some of them flipped, cut off, repeated or put in."""
    found = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(found) - 1, 0)))
        kind = draw(st.sampled_from(["flip", "flip", "cut", "insert", "drop", "huge"]))
        if kind == "flip" and found:
            found[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del found[at:]
        elif kind == "insert":
            found[at:at] = draw(st.binary(max_size=9))
        elif kind == "huge":
            found[at : at + 8] = draw(st.sampled_from([b"\xff" * 8, b"\xff" * 7 + b"\x7f", b"\0" * 8]))
        else:
            del found[at : at + draw(st.integers(1, 40))]
    return bytes(found)


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


# ------------------------------------------------------------------------------ what users write

LOADERS: dict[str, tuple[Callable[..., Config], str]] = {
    "recipes": (recipe.load_recipe, "smoke"),
    "sweeps": (recipe.load_sweep, "lab-frontier"),
    "studies": (recipe.load_study, "demo"),
    "attacks": (recipe.load_attacks, "lab"),
}
SHIPPED = {kind: recipe._shipped(kind)[name] for kind, (_, name) in LOADERS.items()}
PIECES = st.lists(
    st.sampled_from(
        [
            "a",
            "name",
            ": ",
            ":",
            "\n",
            "\n  ",
            "- ",
            "[",
            "]",
            "{",
            "}",
            ",",
            "&x ",
            "*x",
            "<<: *x",
            "!!set ",
            "!",
            "|\n",
            ">",
            "'",
            '"',
            "\\u",
            "#",
            "---\n",
            "...",
            "%YAML 1.1",
            "? ",
            "1",
            "0x",
            ".inf",
            "~",
            "\t",
            "2020-01-01",
            "\ufeff",
        ]
    ),
    max_size=25,
).map("".join)


def load_all(text: str, kind: str, where: Path) -> None:
    (where / "f.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    with ours():
        found = LOADERS[kind][0](str(where / "f.yaml"))
        if isinstance(found, recipe.Recipe | recipe.Sweep | recipe.Study):
            (where / "again.yaml").write_text(recipe.to_yaml(found))
            assert LOADERS[kind][0](str(where / "again.yaml")) == found
        if isinstance(found, recipe.Sweep):
            found.recipe_of(found.points()[0], 0)


@fuzz(60, st.sampled_from(sorted(LOADERS)), PIECES, st.data())
def test_recipes_of_any_text(scratch: Path, kind: str, piece: str, data: Any) -> None:
    text = SHIPPED[kind]
    at = data.draw(st.integers(0, len(text)))
    load_all(data.draw(st.sampled_from([piece, text[:at] + piece + text[at:], text[:at]])), kind, scratch)


@fuzz(120, st.sampled_from(sorted(LOADERS)), st.data())
def test_recipes_of_any_values(scratch: Path, kind: str, data: Any) -> None:
    known = LOADERS[kind][0](LOADERS[kind][1]).model_dump(mode="json")
    written = changed(known, data.draw)
    with contextlib.suppress(UnicodeEncodeError, ValueError):
        load_all(yaml.safe_dump(written, allow_unicode=True), kind, scratch)


KEYS = [
    "name",
    "sample.tokens",
    "sample",
    "train.epochs",
    "extract.texts",
    "model.id",
    "evaluate.tasks",
    "a.b",
    "",
    ".",
]


@fuzz(
    60, st.lists(st.builds("{}={}".format, st.sampled_from(KEYS) | st.text(max_size=9), PIECES), max_size=3)
)
def test_any_overrides(items: list[str]) -> None:
    with ours():
        recipe.load_recipe("smoke", overrides=items)


@fuzz(
    100,
    st.sampled_from(["lab:a", "lab:facts", "hub:a/b", ""]),
    st.text("@=,.:/+scalepoeds0123456789-e\n", max_size=25),
)
def test_any_name_of_a_world_or_data_set(head: str, tail: str) -> None:
    with ours():
        worlds.split(head + tail)
    if not hub_datasets._SPEC.fullmatch(head + tail):
        with ours():
            hub_datasets.load(head + tail)


# ------------------------------------------------------------------------------ what stages write


@pytest.fixture(scope="session")
def corpus(scratch: Path) -> artifacts.Artifact:
    rows = {
        "sample_id": range(6),
        "token_ids": [[1, 2, 3]] * 6,
        "text": [f"text {i}" for i in range(6)],
        "logprobs": [None] * 6,
        "logprobs_tau": [None] * 6,
        "finish_reason": ["stop"] * 6,
        "seed": [0] * 6,
    }
    config = {"start_tokens": {"start_ids": [0]}}
    with artifacts.build(scratch, "sample", "corpus", version=1, config=config, inputs={}) as b:
        if b.artifact is None:
            write_parquet(pa.table(rows, schema=CORPUS_SCHEMA), b.path / "corpus-00000.parquet")
            b.finish({"documents": 6})
    assert b.artifact is not None
    return b.artifact


def copied(corpus: artifacts.Artifact, scratch: Path) -> Path:
    shutil.rmtree(scratch / "copy", ignore_errors=True)
    return Path(shutil.copytree(corpus.path, scratch / "copy"))


@fuzz(80, st.booleans(), st.booleans(), st.data())
def test_any_manifest(
    scratch: Path, corpus: artifacts.Artifact, forged: bool, bytewise: bool, data: Any
) -> None:
    """Forged: its hashes are made to fit, as somebody could who wants to."""
    file = copied(corpus, scratch) / "manifest.json"
    if bytewise:
        file.write_bytes(damaged(file.read_bytes(), data.draw))
    else:
        manifest = changed(json.loads(file.read_text()), data.draw)
        if forged and isinstance(manifest, dict):
            with contextlib.suppress(Exception):
                stated = (manifest[k] for k in ("stage", "stage_version", "config", "inputs"))
                manifest["fingerprint"] = artifacts._identity(*stated)
                manifest["checksum"] = artifacts._checksum(manifest)
        file.write_text(json.dumps(manifest))
    with ours():
        found = artifacts.load(file.parent)
        _ = found.stage, found.fingerprint, found.counts, found.config
        read_corpus(found)
        start_of(found)


@fuzz(120, st.booleans(), st.data())
def test_any_table(scratch: Path, corpus: artifacts.Artifact, named: bool, data: Any) -> None:
    file = corpus.path / "corpus-00000.parquet"
    (scratch / "t.parquet").write_bytes(damaged(file.read_bytes(), data.draw))
    with ours():
        read_parquet(scratch / "t.parquet", ["token_ids", "text"] if named else None).to_pylist()
    with ours():
        texts.load_texts(scratch / "t.parquet")
    with ours():
        list(benchmark_texts.benchmark_texts(f"file:{scratch / 't.parquet'}"))


TYPES = [
    pa.int64(),
    pa.uint64(),
    pa.int8(),
    pa.float64(),
    pa.bool_(),
    pa.string(),
    pa.binary(),
    pa.null(),
    pa.date32(),
    pa.timestamp("ns"),
    pa.decimal128(9, 2),
    pa.large_string(),
    pa.list_(pa.list_(pa.int64())),
    pa.list_(pa.null()),
    pa.list_(pa.int64(), 2),
    pa.large_list(pa.uint64()),
    pa.struct([("a", pa.int64())]),
    pa.list_(pa.bool_()),
    pa.map_(pa.string(), pa.int64()),
    pa.dictionary(pa.int8(), pa.string()),
    pa.list_(pa.uint64()),
    pa.list_(pa.string()),
]
NAMES = ["text", "token_ids", "tokens", "doc_id", "stratum", "index", "other"]


@fuzz(
    80, st.dictionaries(st.sampled_from(NAMES), st.sampled_from(TYPES), min_size=1), st.booleans(), st.data()
)
def test_columns_of_any_type(scratch: Path, columns: dict[str, pa.DataType], nulls: bool, data: Any) -> None:
    rows = 0 if data.draw(st.integers(0, 5)) == 0 else 2
    made = {}
    for name, kind in columns.items():
        values = data.draw(st.lists(st.sampled_from(_values(kind)), min_size=rows, max_size=rows))
        made[name] = pa.array([None if nulls else v for v in values], kind)
    with contextlib.suppress(pa.ArrowNotImplementedError):
        pq.write_table(pa.table(made), scratch / "c.parquet")
        with ours():
            texts.load_texts(scratch / "c.parquet")
        with ours():
            read_parquet(scratch / "c.parquet", ["text"])


def _values(kind: pa.DataType) -> list[Any]:
    if pa.types.is_fixed_size_list(kind):
        return [[1, 2], [-1, 2**40]]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [[], _values(kind.value_type)[:1], _values(kind.value_type)]
    if pa.types.is_map(kind):
        return [[("a", 1)]]
    if pa.types.is_struct(kind):
        return [{"a": 1}]
    if pa.types.is_null(kind):
        return [None]
    if pa.types.is_boolean(kind):
        return [True]
    if pa.types.is_binary(kind):
        return [b"\xff", b"a"]
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
        return ["a", "b" * 300, ""]
    if pa.types.is_floating(kind):
        return [0.5, float("nan"), float("inf")]
    if pa.types.is_decimal(kind):
        return [1]
    small = pa.types.is_int8(kind)
    top = {pa.uint64(): 2**64 - 1, pa.int64(): 2**62}.get(kind, 100)
    return [1, 7] if small or top == 100 else [1, 2**31, top]


@fuzz(
    80,
    st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=4), min_size=1, max_size=8),
    st.sampled_from([pa.list_(pa.int64()), pa.large_list(pa.uint64()), pa.list_(pa.int32())]),
    st.data(),
)
def test_ids_of_slices_and_chunks_are_those_of_the_rows(
    rows: list[list[int]], kind: pa.DataType, data: Any
) -> None:
    """Offsets of slices, and one id that is too large at a known place, in any chunk."""
    cut = data.draw(st.integers(0, len(rows)))
    pieces = [
        pa.array([[7], *rows[:cut]], kind)[1:],
        pa.array([*rows[cut:], [9, 9]], kind)[: len(rows) - cut],
    ]
    found = texts.token_rows.from_column(pa.chunked_array(pieces), "here")
    assert [x.tolist() for x in found] == rows and all(x.dtype == np.int32 for x in found)
    if pa.types.is_int32(kind.value_type):
        return
    bad = data.draw(st.sampled_from([2**31, 2**32 + 5, 2**40]))
    at = data.draw(st.integers(0, len(rows) - 1))
    rows = [[*r, bad] if i == at else r for i, r in enumerate(rows)]
    pieces = [pa.array([[bad], *rows[:cut]], kind)[1:], pa.array(rows[cut:], kind)]
    with pytest.raises(ResurfaceError, match=rf"no token ids \(row {at}: {bad}\)"):
        texts.token_rows.from_column(pa.chunked_array(pieces), "here")


@fuzz(120, st.data())
def test_any_array(scratch: Path, data: Any) -> None:
    stream = io.BytesIO()
    kind = data.draw(st.sampled_from(["<i8", ">u4", "<f4", "?", "<M8[D]", "V3", "<U2"]))
    np.save(stream, np.zeros((2, 3), kind))
    raw = damaged(stream.getvalue(), data.draw)
    if data.draw(st.booleans()):
        shape = data.draw(
            st.sampled_from([b"(9999999999, 0)", b"(0, 9)", b"(99999999,99999999)", b"(-1, 3)", b"(2,)"])
        )
        raw = re.sub(rb"\([^)]*\)", shape, stream.getvalue(), count=1)
    (scratch / "a.npy").write_bytes(raw)
    with ours():
        assert len(texts.load_texts(scratch / "a.npy")) < 10_000


LINES = st.lists(
    JSON
    | st.fixed_dictionaries({}, optional={"text": JSON, "tokens": JSON, "doc_id": JSON, "stratum": JSON}),
    max_size=3,
)


@fuzz(120, LINES, st.data())
def test_any_lines(scratch: Path, rows: list[Any], data: Any) -> None:
    raw = "\n".join(json.dumps(r) for r in rows).encode()
    (scratch / "l.jsonl").write_bytes(damaged(raw, data.draw) if data.draw(st.booleans()) else raw)
    with ours():
        texts.fingerprint_of(texts.load_texts(scratch / "l.jsonl"))
    with ours():
        list(benchmark_texts.benchmark_texts(f"file:{scratch / 'l.jsonl'}"))


@fuzz(80, st.booleans(), st.data())
def test_any_calibration(scratch: Path, bytewise: bool, data: Any) -> None:
    known = json.loads((Path(recipe.__file__).parent / "studies" / f"{ranking.SHIPPED}.json").read_text())
    known |= {"values": known["values"][:120], "pairs": known["pairs"][:12]}
    raw = json.dumps(known).encode()
    raw = damaged(raw, data.draw) if bytewise else json.dumps(changed(known, data.draw)).encode()
    (scratch / "calibration.json").write_bytes(raw)
    with ours():
        found, where = ranking._calibration(scratch / "calibration.json")
        ranking._fit(found, ranking._best(found, where).split("+"), where)


RESULT = Path(__file__).parents[1] / "results/lab/controls-five-seeds/sweep.json"
CONTROLS = json.loads(RESULT.read_text())["points"][0]["controls"]


@fuzz(60, st.sampled_from(["summary.json", "sweep.json"]), st.booleans(), st.data())
def test_any_result_that_names_control_arms(scratch: Path, name: str, bytewise: bool, data: Any) -> None:
    root = scratch / "run"
    shutil.rmtree(root, ignore_errors=True)
    cfg = ExtractConfig(texts=("a",))
    manifests = {
        "weights/self-dose1-x": {"inputs": {"model": {"fingerprint": "b"}, "treated": {"fingerprint": "t"}}},
        "extract/e-x": {"config": cfg.model_dump(mode="json"), "inputs": {"model": {"fingerprint": "b"}}},
        "evaluate/s-x": {"inputs": {"model": {"fingerprint": "t"}}},
    }
    for place, manifest in manifests.items():
        (root / place).mkdir(parents=True)
        (root / place / "manifest.json").write_text(json.dumps(manifest))
    point = {"controls": CONTROLS, "artifacts": ["evaluate/s-x"]}
    whole: Any = {"points": [point]} if name == "sweep.json" else {"controls": CONTROLS}
    refs: Any = [SimpleNamespace(fingerprint=f, spec=f) for f in "bt"]
    (root / name).write_text(json.dumps(whole))
    assert _controls(root, refs, cfg) == CONTROLS | {"from": "run"}
    raw = damaged(json.dumps(whole).encode(), data.draw) if bytewise else b""
    (root / name).write_bytes(raw or json.dumps(changed(whole, data.draw)).encode())
    with ours():
        _controls(root, refs, cfg)
    victim = root / data.draw(st.sampled_from(sorted(manifests))) / "manifest.json"
    victim.write_text(json.dumps(changed(json.loads(victim.read_text()), data.draw)))
    with ours():
        _controls(root, refs, cfg)


# ------------------------------------------------------------------------------ models


@fuzz(40, st.sampled_from(["model.safetensors", "config.json", "header"]), st.data())
def test_any_weights_or_configuration(scratch: Path, tiny_model_dir: Path, name: str, data: Any) -> None:
    model = scratch / "model"
    shutil.rmtree(model, ignore_errors=True)
    shutil.copytree(tiny_model_dir, model)
    if name == "header":
        raw = (model / "model.safetensors").read_bytes()
        size = int.from_bytes(raw[:8], "little")
        header = json.dumps(changed(json.loads(raw[8 : 8 + size]), data.draw)).encode()
        (model / "model.safetensors").write_bytes(
            len(header).to_bytes(8, "little") + header + raw[8 + size :]
        )
    elif name == "config.json" and data.draw(st.booleans()):
        config = json.loads((model / name).read_text())
        (model / name).write_text(json.dumps(changed(config, data.draw)))
    else:
        raw = (model / name).read_bytes()
        (model / name).write_bytes(damaged(raw[:4000], data.draw) + raw[4000:])
    with ours():
        models.resolve(ModelConfig(id=str(model)))


@pytest.fixture(scope="session")
def tiny_gguf(scratch: Path) -> bytes:
    """A Llama's header and one tensor: no whole model, so that no example costs a conversion."""
    writer = gguf.GGUFWriter(scratch / "made.gguf", "llama")
    writer.add_block_count(1)
    writer.add_context_length(32)
    writer.add_string("tokenizer.ggml.pre", "smollm")
    writer.add_token_list(["a", "b"])
    writer.add_tensor("token_embd.weight", np.zeros((4, 8), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return (scratch / "made.gguf").read_bytes()


@fuzz(60, st.data())
def test_any_gguf_header(scratch: Path, tiny_gguf: bytes, data: Any) -> None:
    from resurface.gguf_files import check_gguf

    (scratch / "m.gguf").write_bytes(damaged(tiny_gguf, data.draw))
    with ours():
        check_gguf(scratch / "m.gguf")


def test_a_hash_of_plain_values_never_needs_more_than_they_are() -> None:
    assert hashes.fingerprint({"a": [1, None, True, 1.5, "x"]}) == hashes.fingerprint(
        {"a": (1, None, True, 1.5, "x")}
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", sorted(SLOW))
def test_for_minutes(name: str, request: pytest.FixtureRequest) -> None:
    import inspect

    wanted = [p for p in inspect.signature(SLOW[name]).parameters if p != "request"]
    SLOW[name](**{p: request.getfixturevalue(p) for p in wanted})
