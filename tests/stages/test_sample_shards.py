"""A corpus by several shards has the bytes of one by one program, whatever their number and order."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import resurface
from resurface import artifacts
from resurface.cli import main
from resurface.errors import CorruptArtifact, UserError
from resurface.executors import Shard
from resurface.stages.sampling import SampleConfig
from resurface.stages.sampling.config import Blocks

SHORT = {"min_tokens": 4, "max_new_tokens": 24, "batch_size": 8}
BUDGETS = {
    "documents": {"samples": 75, "shard_size": 16},  # in 5 blocks, the last of 11
    "tokens": {"tokens": 1000},
    "a token more than documents": {"tokens": 1},
}


def draw(shard: str, out: Path, **options: object) -> resurface.stages.sampling.ShardDrawn:  # type: ignore
    return resurface.sample_shard("lab:a-small", Shard.parse(shard), out=out, **(SHORT | options))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, resurface.Artifact]:
    out = tmp_path_factory.mktemp("whole")
    return {
        k: resurface.sample("lab:a-small", out=out, name=k.split()[0], **(SHORT | o))
        for k, o in BUDGETS.items()
    }


def same(a: resurface.Artifact, b: resurface.Artifact) -> None:
    for key in ("fingerprint", "config", "inputs", "files", "counts"):
        assert a.manifest[key] == b.manifest[key], key


def finish(n: int, out: Path, **options: object) -> int:
    """Merge, and let the shard that has to go on do so until the corpus is whole; returns how often."""
    for times in itertools.count():
        try:
            resurface.merge(out)
            return times
        except UserError as e:
            assert "must go on" in e.message and e.remedy
            shard = e.remedy.rsplit(" ", 1)[1]
            assert shard.endswith(f"/{n}")
            before = len(list(out.glob("sample-block/*/*/manifest.json")))
            draw(shard, out, **options)
            assert len(list(out.glob("sample-block/*/*/manifest.json"))) > before
    raise AssertionError


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("order", [[1], [1, 2, 3], [3, 1, 2]])
def test_shards_make_the_corpus_of_one_program(tmp_path, whole, budget, order):
    options, n = BUDGETS[budget], len(order)
    if budget == "a token more than documents" and n > 1:
        with pytest.raises(UserError, match="no more than 1 blocks of 8"):
            draw("1/3", tmp_path, **options)
        return
    for i in order:
        draw(f"{i}/{n}", tmp_path, **options)
    assert finish(n, tmp_path, **options) <= 2
    name = "corpus"
    (made,) = (artifacts.load(p.parent) for p in tmp_path.glob(f"sample/{name}-????????/manifest.json"))
    same(made, whole[budget])
    blocks = {p.parent.name for p in tmp_path.glob("sample-block/*/*/manifest.json")}
    assert (
        len(blocks) <= len(made.manifest["files"]) + 2 * n
    )  # of a budget of tokens, little is drawn in vain


def test_another_number_of_shards_goes_on_where_others_were(tmp_path, whole):
    options = BUDGETS["documents"]
    first = draw("2/2", tmp_path, **options)
    assert (first.blocks, first.documents) == (2, 32)
    times = {p: p.stat().st_mtime_ns for p in tmp_path.glob("sample-block/*/*/*.parquet")}
    for i in (1, 2, 3):
        draw(f"{i}/3", tmp_path, **options)
    assert {p: p.stat().st_mtime_ns for p in times} == times  # none is drawn twice
    same(resurface.merge(first.path), whole["documents"])


def test_one_program_takes_what_shards_have_drawn(tmp_path, whole, monkeypatch):
    options = BUDGETS["documents"]
    draw("1/2", tmp_path, **options)
    draw("2/4", tmp_path, **options)  # blocks 0, 1, 2 and 4: block 3 is missing
    from resurface.stages.sampling.drawing import Source

    asked: list[int] = []
    real = Source.draw
    monkeypatch.setattr(Source, "draw", lambda self, ids: asked.extend(ids) or real(self, ids))
    same(resurface.sample("lab:a-small", out=tmp_path, **(SHORT | options)), whole["documents"])
    assert asked == list(range(48, 75))
    with pytest.raises(UserError, match="is finished"):
        draw("1/2", tmp_path, **options)


def refused(source: Path) -> UserError:
    with pytest.raises(UserError) as e:
        resurface.merge(source)
    assert e.value.remedy
    return e.value


def test_what_cannot_be_put_together_is_refused(tmp_path):
    options = BUDGETS["documents"]
    assert "no shards" in refused(tmp_path).message
    for i in (1, 2):
        draw(f"{i}/2", tmp_path, **options)
    (folder,) = (tmp_path / "sample-block").iterdir()
    blocks = sorted(folder.glob("?????-????????"))
    assert len(blocks) == 5

    away = tmp_path / "away"
    blocks[1].rename(away)
    error = refused(tmp_path)
    assert "1 blocks are missing, the first of documents 16 to 31: shard 2/2 must go on" in error.message
    assert error.remedy.endswith("--shard 2/2")
    away.rename(blocks[1])

    shutil.copytree(blocks[1], twice := folder / "00001-aaaaaaaa")
    assert "overlap" in refused(tmp_path).message
    shutil.rmtree(twice)

    other = draw("2/2", tmp_path / "other", **(options | {"temperature": 1.0}))
    (stranger,) = Path(other.path).glob("00001-*")
    blocks[1].rename(away)
    shutil.copytree(stranger, folder / stranger.name)
    error = refused(tmp_path)
    assert "different configurations: temperature" in error.message
    shutil.rmtree(folder / stranger.name)
    away.rename(blocks[1])

    shutil.copytree(other.path, tmp_path / "sample-block" / Path(other.path).name)
    assert "2 corpora" in refused(tmp_path).message
    shutil.rmtree(tmp_path / "sample-block" / Path(other.path).name)

    file = blocks[4] / "corpus-00004.parquet"
    data = file.read_bytes()
    file.write_bytes(data[:-1] + b"x")
    with pytest.raises(CorruptArtifact, match="is not the file that was written"):
        resurface.merge(tmp_path)
    assert not list(tmp_path.glob("sample/corpus-????????"))
    file.write_bytes(data)
    assert resurface.merge(tmp_path).counts["documents"] == 75


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1/0", "1", "1/2/3", "-1/2", "a/b", "1/9999999", "١/٢"])
@pytest.mark.parametrize("verb", [["sample", "lab:a-small"], ["sweep", "demo-seeds"], ["study", "demo"]])
def test_what_is_no_shard_is_refused_before_work(capsys, tmp_path, shard, verb):
    code = main.main([*verb, f"--shard={shard}", "--out", str(tmp_path / "out"), "--json"])
    out = capsys.readouterr().out
    assert code == 2 and "is no part i/n" in json.loads(out)["error"]
    assert not (tmp_path / "out").exists()


def test_the_command_line_draws_and_merges(capsys, tmp_path, whole):
    options = ["--samples", "75", "--shard-size", "16", "--min-tokens", "4", "--max-new-tokens", "24"]
    common = ["sample", "lab:a-small", *options, "--batch-size", "8", "--out", str(tmp_path)]
    assert main.main([*common, "--shard", "1/2"]) == 0
    said = capsys.readouterr().out
    assert "shard 1/2: 3 blocks, 43 documents" in said
    merge = said.rsplit("resurface ", 1)[1].split()
    assert main.main(merge) == 2 and "shard 2/2 must go on" in capsys.readouterr().err.replace("\n", " ")
    assert main.main([*common, "--shard", "2/2"]) == 0 and main.main(merge) == 0
    capsys.readouterr()
    assert main.main([*common, "--json"]) == 0  # the same corpus: nothing is drawn
    assert json.loads(capsys.readouterr().out)["fingerprint"] == whole["documents"].fingerprint


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=60),
    st.integers(1, 4),
    st.integers(1, 5),
    st.permutations(range(5)),
    st.integers(1, 300),
)
def test_every_order_of_shards_ends_with_a_whole_corpus(lengths, size, n, order, tokens):
    """By the rule alone: documents of any length, shards one after the other, again where they have to."""
    cfg = SampleConfig(tokens=tokens, min_tokens=1, max_new_tokens=30, batch_size=size)
    blocks = Blocks.of(cfg)
    held = [sum(lengths[i % len(lengths)] for i in blocks.ids(k)) for k in range(blocks.most)]
    there: dict[int, int] = {}
    order = [i for i in order if i < n]
    for rounds in itertools.count():
        for i in order:
            while todo := [k for k in blocks.needed(there) if k % n == i and k not in there]:
                there |= {k: held[k] for k in todo}
        if all(k in there for k in blocks.needed(there)):
            break
        assert rounds < blocks.most
    ended, k = 0, 0
    while ended < tokens:
        ended += there[k]  # every block up to the end is there
        k += 1
