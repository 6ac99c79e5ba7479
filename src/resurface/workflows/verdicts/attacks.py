"""The attacks on a model, from what a user may name as MODEL and the extraction whose windows are tried."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from resurface import memorization, models
from resurface.artifacts import Artifact
from resurface.artifacts.parquet import read_parquet
from resurface.engines.session import Lazy, Session
from resurface.errors import UserError
from resurface.memorization import ProbeConfig, RelearnConfig
from resurface.memorization.windows import WINDOW_SCHEMA
from resurface.stats.reasons import Reason
from resurface.trust.consent import Consent
from resurface.workflows.replays import model_of, options_of, replays
from resurface.workflows.stages import OUT, Given, Model, as_config, given


def probe(
    model: Model,
    extraction: Given,
    cfg: ProbeConfig,
    out: str | Path = OUT,
    *,
    name: str = "probes",
    trust_remote_code: bool = False,
) -> Artifact:
    """Stage probe: the windows of an extraction behind other prefixes; see `memorization.attacks.prefix`."""
    s, a = Session.open(as_config(model, trust_remote_code)), given(extraction, "extract")
    windows = read_parquet(a.file("windows.parquet"), WINDOW_SCHEMA.names)
    return memorization.probe(
        Lazy(lambda: s.engine(cfg.batch_size)), s.tokenizer, s.ref.fingerprint, str(s.ref.path),
        windows, a.config["prefix"], cfg, out,
        name=name, start_ids=a.config["start_ids"], context=models.context_length(s.ref), dtype=s.dtype,
        origin={"path": str(a.path.resolve())},
    )  # fmt: skip


@replays("probe")
def _probe_again(a: Artifact, name: str, out: str | Path, consent: Consent) -> Artifact:
    return probe(model_of(a, consent), _windows(a)["path"], options_of(ProbeConfig, a), out, name=name)


def relearn(
    model: Model,
    extraction: Given,
    cfg: RelearnConfig,
    floor: Sequence[str],
    out: str | Path = OUT,
    *,
    batch_size: int = 16,
    name: str = "relearned",
    trust_remote_code: bool = False,
) -> Artifact:
    """Stage relearn: train on some windows that the base recites; see `memorization.attacks.relearning`.

    extraction: of the base, whoever `model` is. floor: strata that no model has seen. batch_size: windows per
    scoring pass.
    """
    s, a = Session.open(as_config(model, trust_remote_code)), given(extraction, "extract")
    windows, recited, unseen = _known(a, floor)
    return memorization.relearn(
        s.ref, windows, recited, unseen, a.config["prefix"], cfg, out,
        start_ids=a.config["start_ids"], device=s.device, batch_size=batch_size, name=name,
        origin={"path": str(a.path.resolve()), "floor": list(floor), "batch_size": batch_size},
    )  # fmt: skip


@replays("relearn")
def _relearn_again(a: Artifact, name: str, out: str | Path, consent: Consent) -> Artifact:
    windows, cfg = _windows(a), options_of(RelearnConfig, a)
    how: Any = dict(batch_size=windows["batch_size"], name=name)
    return relearn(model_of(a, consent), windows["path"], cfg, windows["floor"], out, **how)


def _windows(a: Artifact) -> dict[str, Any]:
    """Where an attack's windows are from."""
    entry: dict[str, Any] = a.manifest["inputs"]["windows"]
    if "path" not in entry:
        raise UserError(
            f"{a.path} was made before manifests said where its windows were",
            remedy="make the verdict that it belongs to again, by the command of its provenance",
        )
    return entry


def cannot_relearn(extraction: Artifact, cfg: RelearnConfig, floor: Sequence[str]) -> str | None:
    """Why the windows that the base recites cannot be split into what is given and what is asked for."""
    try:
        memorization.split(*_known(extraction, floor), cfg)
    except UserError as e:
        return Reason.CANNOT_RELEARN.about(e.message)
    return None


def _known(
    extraction: Artifact, floor: Sequence[str]
) -> tuple[pa.Table, NDArray[np.bool_], NDArray[np.bool_]]:
    """The windows, which of them [W] are recited, and which are of the floor."""
    rows = read_parquet(extraction.file("windows.parquet"), [*WINDOW_SCHEMA.names, "exact_match"])
    unseen = np.isin(np.asarray(rows["stratum"].to_pylist(), object).astype(str), list(floor))
    return rows.select(WINDOW_SCHEMA.names), np.asarray(rows["exact_match"].to_pylist(), bool), unseen
