"""The jobs of a sweep or a study, shared among programs that know nothing of each other."""

from __future__ import annotations

from collections.abc import Mapping

from resurface.artifacts import Waiting
from resurface.errors import UserError
from resurface.executors import Job, Shard
from resurface.stats.result import Result


class ShardDone(Result):
    """One shard of a sweep or a study, all of whose jobs are done."""

    shard: str
    """Such as 2/8."""
    jobs: int
    """Self-trainings or cells of this shard."""
    of: int
    """Of all shards together."""
    out: str
    """Directory of the whole."""


def waited(jobs: Mapping[str, Job]) -> dict[str, Job]:
    """The jobs, waiting for what another program is building in place of failing."""
    return {name: Waiting(job) for name, job in jobs.items()}


def require_jobs(shard: Shard, jobs: int) -> None:
    """Raise UserError for more shards than there are jobs: some would do nothing."""
    if shard.of > jobs:
        raise UserError(f"--shard {shard}: there are no more than {jobs} jobs", remedy="take fewer shards")
