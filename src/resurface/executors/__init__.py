"""Where independent jobs run."""

from resurface.executors.local import run_jobs

__all__ = ["run_jobs"]
