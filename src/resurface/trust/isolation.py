"""The working directory is data: no module is imported from it, here or in a process that is started here.

`python -m resurface` puts it first in `sys.path`, so that a torch.py that lies beside a corpus would run.
Imports nothing that Python has not loaded by itself.
"""

import os
import sys


def leave_working_directory() -> None:
    """Take the working directory out of `sys.path`, and keep it out of the children's.

    It stays where PYTHONPATH names it, and where Python or resurface itself lies in it.
    """
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        here = os.path.realpath(os.getcwd())
    except OSError:  # it was removed: nothing can be imported from it
        return
    named = [os.path.realpath(p) for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    ours = [os.path.dirname(os.__file__), os.path.dirname(os.path.dirname(os.path.dirname(__file__)))]
    if here not in [*named, *map(os.path.realpath, ours)]:
        sys.path[:] = [p for p in sys.path if os.path.realpath(p) != here]  # realpath("") is here
