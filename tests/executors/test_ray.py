"""Jobs on a real Ray cluster of this machine: as in processes of this machine, to the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

import resurface
from resurface import artifacts, hardware
from resurface.cli import main
from resurface.errors import Diverged, ResurfaceError, UserError
from resurface.executors import run_jobs
from resurface.executors.ray import Ray
from resurface.specs import Sweep
from test_executors import attempt, die, fail, note, sleep

# looked for, not imported: `Ray` does that, with settings of its own
pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")

SLOTS = 2


def test_a_script_that_has_imported_ray_starts_it_itself():
    """Too late for us to bind a cluster of our own to the loopback address."""
    script = "import ray\nfrom resurface.executors.ray import Ray\nprint(Ray().slots)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)
    assert done.returncode and "call ray.init" in done.stderr


@pytest.fixture(scope="module")
def cluster() -> Iterator[Ray]:
    before = dict(os.environ)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            hardware, "machine", lambda real=hardware.machine: real().model_copy(update={"cores": SLOTS})
        )
        # where its workers find the jobs of these tests
        places = (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))
        patch.setenv("PYTHONPATH", os.pathsep.join(p for p in places if p))
        executor = Ray(threads=1)
        assert executor.slots == SLOTS
        yield executor
        executor.close()
    os.environ.clear()
    os.environ.update(before)


def test_the_cluster_listens_on_the_loopback_address_alone(cluster):
    session = {*psutil.Process().children(recursive=True), psutil.Process()}
    listening = [
        c.laddr.ip for p in session for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN
    ]
    assert listening and {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}
    helpers = [p.cmdline() for p in session if "dashboard.py" in " ".join(p.cmdline())]
    assert all("--disable-frontend" in c for c in helpers)  # it is there, and shows nothing
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_every_job_is_done_in_a_process_of_its_threads(cluster, tmp_path):
    cluster.check(tmp_path)
    assert not list(tmp_path.iterdir())
    run_jobs("test", {str(i): partial(note, tmp_path, str(i)) for i in range(5)}, cluster)
    told = [p.read_text().split() for p in tmp_path.iterdir()]
    assert len(told) == 5 and {threads for _, threads in told} == {"1"}
    assert str(os.getpid()) not in {pid for pid, _ in told}


def test_what_fails_is_tried_again_and_named_once(cluster, tmp_path):
    failures = {
        "a": Diverged("training diverged", remedy="train slower"),
        "b": RuntimeError("no memory\nleft"),
        "c": OSError("disk"),
        "d": MemoryError(),
    }
    jobs = {name: partial(attempt, tmp_path, name, 2, e) for name, e in failures.items()}
    jobs |= {"once": partial(attempt, tmp_path, "once", 1, RuntimeError("a bad day"))}
    jobs |= {"well": partial(attempt, tmp_path, "well", 0, None)}
    with pytest.raises(ResurfaceError) as e:
        run_jobs("test", jobs, cluster)
    assert not isinstance(e.value, UserError)
    assert e.value.message == (
        "test: 4 of 6 jobs failed, twice each:\n  a: training diverged (train slower)\n"
        "  b: RuntimeError: no memory left\n  c: OSError: disk\n  d: MemoryError:"
    )
    tries = {p.name: len(p.read_text()) for p in tmp_path.iterdir()}
    assert tries == {"a": 2, "b": 2, "c": 2, "d": 2, "once": 2, "well": 1}


def test_a_killed_worker_is_replaced_and_its_job_done_again(cluster, tmp_path):
    jobs = {"once": partial(die, tmp_path, "once", 1), "always": partial(die, tmp_path, "always", 9)}
    jobs |= {"well": partial(note, tmp_path, "well")}
    assert cluster.run("test", jobs) == {"always": "its process died (killed, or out of memory)"}
    assert [len((tmp_path / n).read_text()) for n in ("once", "always")] == [2, 2]


def test_bad_input_ends_all_jobs_and_is_raised_as_it_is(cluster, tmp_path):
    with pytest.raises(UserError, match="this cannot be used") as e:
        run_jobs("test", {"x": partial(sleep, tmp_path, "x"), "bad": partial(fail, tmp_path)}, cluster)
    assert e.value.remedy == "use another"
    with pytest.raises(KeyError):
        run_jobs("test", {"bug": partial(attempt, tmp_path, "y", 9, KeyError("x"))}, cluster)


def test_what_no_node_has_is_refused_before_work(cluster, tmp_path):
    for more, need in ((dict(threads=64), "64 CPUs,"), (dict(gpu=True), "1 CPUs and a GPU,")):
        with pytest.raises(UserError, match="no node of the Ray cluster has") as e:
            Ray(**more).run("test", {"x": partial(note, tmp_path, "x")})  # type: ignore[arg-type]
        assert need in e.value.message + "," and f"{SLOTS} CPUs, 0 GPUs" in e.value.message and e.value.remedy
    assert not list(tmp_path.iterdir())


def test_a_directory_that_a_node_does_not_see_is_refused_before_work(cluster, tmp_path, monkeypatch):
    """As with a node on another machine: what was written is not there."""
    monkeypatch.setattr(Path, "write_text", lambda *_, **__: 0)
    with pytest.raises(UserError, match="does not see") as e:
        cluster.check(tmp_path)
    assert "same path" in e.value.remedy


def files(root: Path) -> dict[str, object]:
    found = [artifacts.load(p.parent) for p in root.glob("*/*/manifest.json")]
    return {a.path.relative_to(root).as_posix(): a.manifest["files"] for a in found}


@pytest.mark.parametrize("budget", [{"samples": 75}, {"tokens": 700}])
def test_a_corpus_has_the_bytes_of_one_process(cluster, tmp_path, budget):
    options = budget | {"min_tokens": 4, "max_new_tokens": 24, "batch_size": 8}
    here = resurface.sample("lab:a-small", out=tmp_path / "here", **options)
    there = resurface.sample("lab:a-small", out=tmp_path / "there", executor=cluster, **options)
    for key in ("fingerprint", "files", "counts"):
        assert here.manifest[key] == there.manifest[key]
    drawn = {json.loads(p.read_text())["counts"]["shard"] for p in tmp_path.glob("there/*/*/*/manifest.json")}
    assert len(drawn) == SLOTS
    assert (
        resurface.sample("lab:a-small", out=tmp_path / "there", executor=cluster, **options).path
        == there.path
    )


@pytest.mark.slow
def test_a_sweep_has_the_bytes_of_processes_of_this_machine(cluster, tmp_path, tiny_model_dir):
    recipe = tmp_path / "recipe.yaml"
    settings = {
        "name": "tiny",
        "model": {"id": str(tiny_model_dir)},
        "sample": {"samples": 40, "min_tokens": 5, "max_new_tokens": 40, "batch_size": 40},
        "audit": {"benchmarks": ["lab:tracking"]},
        "subset": {"tokens": 600, "count": 1},
        "train": {"epochs": 1, "batch_size": 4, "micro_batch_size": 4, "cutoff": 64},
        "evaluate": {"tasks": ["lab:tracking"], "limit": 6},
    }
    recipe.write_text(json.dumps(settings))
    cfg = Sweep(name="s", recipe=str(recipe), vary={"train.learning_rate": [1e-3, 1e-1]}, seeds=[0, 1])
    here = resurface.sweep(cfg, tmp_path / "here", workers=2)
    there = resurface.sweep(cfg, tmp_path / "there", executor=cluster)
    assert files(tmp_path / "here") == files(tmp_path / "there")
    assert here.as_json()["points"] == there.as_json()["points"] and there.workers == SLOTS


@pytest.mark.slow
def test_the_command_line_starts_a_cluster_and_ends_it(tmp_path):
    common = [
        sys.executable,
        "-P",
        "-m",
        "resurface",
        "sample",
        "lab:a-small",
        "--samples",
        "16",
        "--batch-size",
    ]
    command = [*common, "8", "--max-new-tokens", "60", "--executor", "ray", "--out", "out", "--json"]
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["counts"]["documents"] == 16
    assert "Warning" not in done.stderr and "WARNING" not in done.stderr, done.stderr
    assert len(list(tmp_path.glob("out/sample-block/*/*/manifest.json"))) == 2


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--ray-address", "x:1"], "is of --executor ray"),
        (["--executor", "ray", "--shard", "1/2"], "both share out"),
        (["--executor", "ray", "--device", "cuda:1"], "gives a job its GPU"),
        (["--executor", "slurm"], "--executor"),
    ],
)
def test_flags_that_exclude_each_other_are_refused(capsys, tmp_path, argv, message):
    code = main.main(["sample", "lab:a-small", *argv, "--out", str(tmp_path / "out"), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert code == 2 and message in said["error"] and said["remedy"] and not (tmp_path / "out").exists()


def test_workers_are_of_this_machine(capsys):
    code = main.main(["sweep", "demo-seeds", "--executor", "ray", "--workers", "2", "--json"])
    assert code == 2 and "processes of this machine" in json.loads(capsys.readouterr().out)["error"]
