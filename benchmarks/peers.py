"""Peers that are not dependencies: timed where they are installed."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

from hot_paths import seconds


def ctranslate2(model: Path, rows: int, n: int, threads: int) -> float | None:
    """Tokens per second of CTranslate2 (float32, full vocabulary) on documents of n tokens, `rows` at once;
    None where it is not installed. model: a directory whose family it can convert."""
    if importlib.util.find_spec("ctranslate2") is None:
        return None
    import ctranslate2 as ct2
    from ctranslate2.converters import TransformersConverter
    from transformers import AutoTokenizer

    start = AutoTokenizer.from_pretrained(model).convert_ids_to_tokens(0)
    with tempfile.TemporaryDirectory() as folder:
        converted = TransformersConverter(str(model)).convert(str(Path(folder) / "model"))
        generator = ct2.Generator(converted, device="cpu", intra_threads=threads, compute_type="float32")

        def run() -> None:
            found = generator.generate_batch(
                [[start]] * rows, max_length=n, min_length=n, sampling_topk=0, sampling_temperature=1.0,
                include_prompt_in_result=False, max_batch_size=rows,
            )  # fmt: skip
            assert all(len(x.sequences_ids[0]) == n for x in found)

        return rows * n / seconds(run, "cpu", 1, warm_up=False)
