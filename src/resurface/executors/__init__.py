"""Where independent jobs run."""

from resurface.executors.local import raise_failed, run_jobs, try_jobs

__all__ = ["raise_failed", "run_jobs", "try_jobs"]
