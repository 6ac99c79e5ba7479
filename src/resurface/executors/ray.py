"""Independent jobs on a Ray cluster: one that is there, or one of this machine's cores.

A job is the same call as in a process of this machine, and asks for as many CPUs as it has threads, and for a
GPU where its models are on one. What jobs write goes to a directory that every node has to see; no artifact
travels through Ray.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from resurface import hardware, progress
from resurface.errors import ResurfaceError, UserError, shortened
from resurface.executors.base import DIED, FAILURES, Failed, Job, again, noted
from resurface.executors.child import THREADS, sendable

_ANSWER_S = 120.0
"""A node that has not answered by then, which starts one process, cannot be worked with."""
_LOCAL = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Environment variable of Ray: 0 for a cluster that listens on the loopback address alone."""


class Ray:
    """See `Executor`. Connects when it is first asked for something.

    address: of a cluster, as `ray.init` takes it; None: start one of this machine's cores, which ends with
    this process. gpu: whether each job has one. threads: of each job, whose CPUs they are; None: as
    OMP_NUM_THREADS says, else one.

    Raises:
        UserError: Ray is not installed.
    """

    def __init__(self, address: str | None = None, *, gpu: bool = False, threads: int | None = None) -> None:
        self._address, self._gpu = address, gpu
        self._threads = threads or _threads()
        # read when it is imported
        self._bound = "ray" not in sys.modules or os.environ.get(_LOCAL) == "0"
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is reported to anybody
        if address is None:
            os.environ[_LOCAL] = "0"
        try:
            import ray
        except ImportError as e:
            raise UserError(
                f"--executor ray needs Ray, which is not installed ({shortened(e)})",
                remedy="pip install 'resurface[ray]', or in a checkout: pip install -e '.[ray]'",
            ) from e
        self._ray: Any = ray

    @property
    def slots(self) -> int:
        """Jobs that fit the nodes at a time."""
        return sum(node.fits(self._threads, self._gpu) for node in self._nodes)

    def check(self, root: Path) -> None:
        """See `Executor.check`. Every node has this version, and sees `root` and the working directory."""
        ray, probe = self._ray, root.resolve() / f".{os.urandom(16).hex()}.tmp"
        probe.write_text(probe.name)
        try:
            for node in self._nodes:
                strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node.id, soft=False)
                task = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=strategy)(_look)
                try:
                    wrong = ray.get(
                        task.remote(str(probe), os.getcwd(), version("resurface")), timeout=_ANSWER_S
                    )
                except ray.exceptions.RayError as e:
                    wrong = f"does not answer, or has no resurface ({_last_line(e)})"
                if wrong:
                    raise UserError(
                        f"node {node.name} of the Ray cluster {wrong}",
                        remedy="all nodes need the same installation, --out and working directory, such as a "
                        "shared file system at the same path",
                    )
        finally:
            probe.unlink(missing_ok=True)

    def run(self, label: str, jobs: Mapping[str, Job]) -> Failed:
        """See `Executor.run`. Ray itself retries nothing."""
        n = min(len(jobs), self.slots)
        progress.note(f"== {label}: {len(jobs)} jobs on Ray, {n} at a time, of {self._threads} threads")
        failed = self._once(label, jobs)
        return self._once(label, again(label, jobs, failed))

    def close(self) -> None:
        """Leave the cluster; one of our own ends."""
        self.__dict__.pop("_nodes", None)
        self._ray.shutdown()

    # ------------------------------------------------------------------------------ jobs

    def _once(self, label: str, jobs: Mapping[str, Job]) -> Failed:
        ray, failed = self._ray, {}
        task = self._task()
        running = {task.remote(job, os.getcwd()): name for name, job in jobs.items()}
        with self._cancelled(running), progress.task(label, len(jobs), "jobs") as bar:
            while running:
                # a second at a time: that is where an interrupt is noticed
                done, _ = ray.wait(list(running), timeout=1.0)
                for ref in done:
                    name = running.pop(ref)
                    if (e := self._outcome(ref)) is not None:
                        failed[name] = noted(name, e)
                bar.advance(len(done))
        return {name: failed[name] for name in jobs if name in failed}

    def _task(self) -> Any:
        variables = dict.fromkeys(THREADS, str(self._threads))
        if not self._gpu:
            variables["CUDA_VISIBLE_DEVICES"] = ""  # Ray leaves those of a node to jobs that ask for none
        return self._ray.remote(
            num_cpus=self._threads,
            num_gpus=int(self._gpu),
            max_retries=0,
            runtime_env={"env_vars": variables},
        )(_do)

    def _outcome(self, ref: Any) -> Exception | None:
        """Why a job failed; raises what no job is to blame for alone."""
        errors = self._ray.exceptions
        try:
            e = self._ray.get(ref)
        except (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError):
            return ResurfaceError(DIED)
        except errors.RayError as refused:
            return ResurfaceError(_last_line(refused))
        if e is not None and not isinstance(e, FAILURES):
            raise e
        return e

    @contextlib.contextmanager
    def _cancelled(self, running: Mapping[Any, str]) -> Iterator[None]:
        """Bad input or Ctrl-C: nobody wants the rest; artifacts survive a kill."""
        try:
            yield
        except BaseException:
            for ref in running:
                with contextlib.suppress(Exception):
                    self._ray.cancel(ref, force=True)
            raise

    # ------------------------------------------------------------------------------ cluster

    @cached_property
    def _nodes(self) -> list[_Node]:
        """The nodes that are there.

        Raises:
            UserError: no cluster, or none of its nodes could ever run a job.
        """
        self._connect()
        nodes = [_Node.of(n) for n in self._ray.nodes() if n["Alive"]]
        if not any(n.fits(self._threads, self._gpu) for n in nodes):
            each = "; ".join(f"{n.name}: {n.cpus} CPUs, {n.gpus} GPUs" for n in nodes)
            need = f"{self._threads} CPUs" + (" and a GPU" if self._gpu else "")
            raise UserError(
                f"no node of the Ray cluster has {need}, which a job needs ({each})",
                remedy="set OMP_NUM_THREADS to the threads of a job, or add nodes",
            )
        return nodes

    def _connect(self) -> None:
        if self._ray.is_initialized():  # by the user's script
            return
        if self._address is None and not self._bound:
            raise UserError(
                "ray was imported before a cluster of this machine could be bound to the loopback address",
                remedy="call ray.init() first, as that script wants it, or import ray later",
            )
        logging.getLogger("ray").setLevel(logging.ERROR)
        quiet: dict[str, Any] = dict(log_to_driver=False, configure_logging=False)
        if self._address is None:
            quiet |= dict(num_cpus=hardware.machine().cores, include_dashboard=False)
            quiet |= dict(_node_ip_address="127.0.0.1")
        try:
            self._ray.init(address=self._address or "local", **quiet)
        except (OSError, ValueError, RuntimeError, ImportError, self._ray.exceptions.RayError) as e:
            where = (
                f"the Ray cluster at {self._address}" if self._address else "a Ray cluster on this machine"
            )
            raise UserError(
                f"{where} cannot be used: {shortened(f'{type(e).__name__}: {e}', 500)}",
                remedy="see `ray status`; without --ray-address and RAY_ADDRESS one is started here",
            ) from e


@dataclass(frozen=True)
class _Node:
    id: str
    name: str
    cpus: int
    gpus: int

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> _Node:
        has = entry["Resources"]
        return cls(entry["NodeID"], entry["NodeName"], int(has.get("CPU", 0)), int(has.get("GPU", 0)))

    def fits(self, cpus: int, gpu: bool) -> int:
        """How many jobs."""
        return min(self.cpus // cpus, self.gpus) if gpu else self.cpus // cpus


def _last_line(e: Exception) -> str:
    """Of what Ray says, in which a whole traceback may stand."""
    return shortened(str(e).strip().rpartition("\n")[2], 500)


def _threads() -> int:
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(given) if given.isdecimal() and int(given) else 1


def _do(job: Callable[[], Any], directory: str) -> Exception | None:
    """A job, in a process of a node; what it raised."""
    os.chdir(directory)  # relative names are those of the command
    progress.set_quiet(True)
    try:
        job()
    except Exception as e:
        return sendable(e)
    return None


def _look(probe: str, directory: str, wanted: str) -> str | None:
    """What a node lacks, in words. probe: a file that holds its name; wanted: the version of resurface."""
    if (mine := version("resurface")) != wanted:
        return f"has resurface {mine}, not {wanted}"
    if not os.path.isdir(directory):
        return f"does not see the working directory {directory}"
    try:
        seen = Path(probe).read_text()
    except OSError:
        seen = ""
    return None if seen == Path(probe).name else f"does not see {Path(probe).parent}"
