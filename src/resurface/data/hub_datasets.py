"""Data sets of the hub, by the `datasets` library: its cache counts where there is no network.

hub:OWNER/NAME         a data set that has one configuration and one split
hub:OWNER/NAME:PART    PART: a configuration of one split, or a split, also a slice (train[:1000])
"""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa

from resurface.data import hub
from resurface.errors import UserError, quoted, shortened

PREFIX = "hub:"
_SPEC = re.compile(r"hub:([\w.-]+/([\w.-]+))(:.+)?")


def load(spec: str) -> tuple[str, pa.Table]:
    """The name (NAME or NAME:PART) and the rows of one split; no code of the data set's is run.

    The library fetches and caches every split of a configuration, whichever is asked for.

    Raises:
        UserError: not of that form, no such data set, configuration or split, no network.
    """
    parsed = _SPEC.fullmatch(spec)
    if parsed is None:
        raise UserError(
            f"{quoted(spec, 200)} names no data set", remedy="hub:OWNER/NAME or hub:OWNER/NAME:SPLIT"
        )
    repository, name, part = parsed[1], parsed[2], parsed[3] or ""
    try:
        with hub.quiet():
            builder, split = _find(repository, part[1:])
            builder.download_and_prepare()
            return name + part, builder.as_dataset(split=split).with_format("arrow")[:]
    except UserError:
        raise
    except Exception as e:  # data sets fail in as many ways as there are clients and formats
        kind = type(e).__name__
        offline = isinstance(e, ConnectionError) or "Connect" in kind
        why = "no network, and it is not in the cache" if offline else "it cannot be loaded"
        raise UserError(
            f"data set {repository}: {why} ({kind}: {shortened(e)})",
            remedy="download its .parquet files where there is a network, and give a file or their directory",
        ) from e


def _find(repository: str, part: str) -> tuple[Any, str]:
    """The builder of a configuration, and which of its splits; nothing but metadata is fetched."""
    import datasets

    split = ""
    try:
        builder = datasets.load_dataset_builder(repository, part or None)
    except ValueError:  # no configuration of that name
        if not part:
            raise
        builder, split = datasets.load_dataset_builder(repository), part
    splits = list(builder.info.splits or builder.config.data_files or ())
    if not split and len(splits) == 1:
        split = splits[0]
    if split.partition("[")[0] not in splits:
        asked = f"no split {split!r}" if split else f"{len(splits)} splits"
        raise UserError(f"data set {repository} has {asked}", remedy=f"name one of them: {', '.join(splits)}")
    return builder, split
