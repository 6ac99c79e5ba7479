"""Where independent jobs run."""

from resurface.executors.base import Executor, Failed, Job, raise_failed, run_jobs
from resurface.executors.local import Local, try_jobs
from resurface.executors.shards import WHOLE, Shard

__all__ = ["WHOLE", "Executor", "Failed", "Job", "Local", "Shard", "raise_failed", "run_jobs", "try_jobs"]
