"""The model hub: whether it answers, and how to use its clients without their retries."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterator

from resurface import doctor


@functools.cache
def reachable() -> bool:
    """Whether the model hub answers now; asked once, as `resurface doctor` does."""
    return bool(doctor.hub()["reachable"])


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the hub client's lines about retries; and without retries if the hub cannot be reached."""
    from datasets import config as datasets_config
    from huggingface_hub import constants

    logger = logging.getLogger("huggingface_hub")
    before = logger.level, constants.HF_HUB_OFFLINE, datasets_config.HF_HUB_OFFLINE
    logger.setLevel(logging.ERROR)
    try:
        if not constants.HF_HUB_OFFLINE and not reachable():
            constants.HF_HUB_OFFLINE = datasets_config.HF_HUB_OFFLINE = True  # its cache still counts
        yield
    finally:
        logger.setLevel(before[0])
        constants.HF_HUB_OFFLINE, datasets_config.HF_HUB_OFFLINE = before[1:]
