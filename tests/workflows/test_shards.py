"""A sweep and a study by two programs at once that share a directory: what one program makes, made once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import resurface
from resurface import artifacts
from resurface.errors import UserError
from resurface.executors import Shard
from resurface.specs import Study, Sweep, to_yaml

STAGES: dict[str, Any] = {
    "sample": {"samples": 40, "min_tokens": 5, "max_new_tokens": 40, "batch_size": 40},
    "audit": {"benchmarks": ["lab:tracking"]},
    "train": {"epochs": 1, "batch_size": 4, "micro_batch_size": 4, "cutoff": 64},
    "evaluate": {"tasks": ["lab:tracking"], "limit": 6},
}


@pytest.fixture(scope="module")
def sweep(tiny_model_dir, tmp_path_factory) -> Sweep:
    recipe = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    settings = STAGES | {"name": "tiny", "model": {"id": str(tiny_model_dir)}}
    recipe.write_text(json.dumps(settings | {"subset": {"tokens": 600, "count": 1}}))
    return Sweep(name="s", recipe=str(recipe), vary={"train.learning_rate": [1e-3, 1e-1]}, seeds=[0, 1])


@pytest.fixture(scope="module")
def study(tiny_model_dir, tiny_neox_dir) -> Study:
    ids = [{"id": str(tiny_model_dir)}, {"id": str(tiny_neox_dir)}]
    return Study(**STAGES, name="s", sources=ids, students=ids, subset={"bytes": 600, "count": 1})


def files(root: Path) -> dict[str, Any]:
    """Fingerprint and files of every artifact below."""
    found = [artifacts.load(p.parent) for p in root.glob("*/*/manifest.json")]
    assert len({a.fingerprint for a in found}) == len(found)
    return {a.path.relative_to(root).as_posix(): a.manifest["files"] for a in found}


def times(root: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in root.glob("*/*/manifest.json")}


@pytest.mark.parametrize("kind", ["sweep", pytest.param("study", marks=pytest.mark.slow)])
def test_shards_one_after_the_other_share_all_work(kind, request, tmp_path):
    cfg = request.getfixturevalue(kind)
    if kind == "sweep":
        cfg = cfg.model_copy(update={"vary": {}})
    n = 2 if kind == "sweep" else 4
    done = [getattr(resurface, f"{kind}_shard")(cfg, Shard(i, 2), tmp_path) for i in (2, 1)]
    assert [(d.shard, d.jobs, d.of) for d in done] == [("2/2", n // 2, n), ("1/2", n // 2, n)]
    assert len(list(tmp_path.glob("train/*/manifest.json"))) == n
    made = times(tmp_path)
    assert getattr(resurface, kind)(cfg, tmp_path).as_json()
    assert times(tmp_path) == made and (tmp_path / "report.md").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sweep", "study"])
def test_shards_make_what_one_program_makes(kind, request, tmp_path):
    cfg = request.getfixturevalue(kind)
    work = getattr(resurface, kind)
    whole = work(cfg, tmp_path / "whole").as_json()
    (spec := tmp_path / f"{kind}.yaml").write_text(to_yaml(cfg))
    out = tmp_path / "out"
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    programs = [
        subprocess.Popen(
            [sys.executable, "-m", "resurface", kind, str(spec), "--out", str(out), "--json", "--shard",
             f"{i}/3"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
        )
        for i in (3, 1, 2)
    ]  # fmt: skip
    said = []
    for program in programs:
        stdout, stderr = program.communicate(timeout=250)
        assert program.returncode == 0, stderr[-3000:]
        said.append(json.loads(stdout))
    assert [s["shard"] for s in said] == ["3/3", "1/3", "2/3"]
    assert [s["jobs"] for s in said] == [1, 2, 1] and {s["of"] for s in said} == {4}
    assert files(out) == files(tmp_path / "whole")
    assert not list(out.glob("*/*.part")) and not list(out.glob("*/*.lock"))
    made = times(out)
    together = work(cfg, out).as_json()
    assert times(out) == made  # putting together makes no artifact
    for key in ("points", "cells", "decomposition", "before"):
        assert together.get(key) == whole.get(key), key


@pytest.mark.parametrize("kind", ["sweep", "study"])
def test_more_shards_than_jobs_are_refused(kind, request, tmp_path):
    cfg = request.getfixturevalue(kind)
    with pytest.raises(UserError, match=r"--shard 1/5: there are no more than 4 jobs") as e:
        getattr(resurface, f"{kind}_shard")(cfg, Shard(1, 5), tmp_path / "out")
    assert e.value.remedy and not list(tmp_path.glob("out/*/"))


def test_what_fails_in_one_shard_moves_no_job_to_another(study, tmp_path, monkeypatch):
    """The text of the first source cannot be made here: its cells wait, the others are those of the part."""
    from resurface.errors import ResurfaceError
    from resurface.workflows.studies import making

    real, bad = making.text_of, study.sources[0].id

    def fails(cfg, source, root, stages=None):
        if source.id == bad:
            raise RuntimeError("no memory")
        return real(cfg, source, root, stages)

    monkeypatch.setattr(making, "text_of", fails)
    with pytest.raises(ResurfaceError, match="no memory") as e:
        resurface.study_shard(study, Shard(1, 2), tmp_path)
    assert "2 cells wait" in e.value.message and not list(tmp_path.glob("train/*"))
    assert resurface.study_shard(study, Shard(2, 3), tmp_path).jobs == 1  # that needs the other text
    assert len(list(tmp_path.glob("train/*/manifest.json"))) == 1
    with pytest.raises(ResurfaceError, match="1 of 2 jobs failed") as e:  # not its text, but its cell
        resurface.study_shard(study, Shard(3, 3), tmp_path)
    assert "no memory" in e.value.message
