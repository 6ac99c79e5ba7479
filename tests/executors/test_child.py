"""A process of our own has the threads that it was started with, whatever its parent has."""

from __future__ import annotations

import os
from functools import partial

import pytest
import torch

from resurface.executors.child import Child

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_not_those_of_the_parent(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "7")
    with Child(threads=threads) as child:
        assert [child.call(partial(os.getenv, name)) for name in VARIABLES] == [str(threads)] * 3
        assert child.call(torch.get_num_threads) == threads
