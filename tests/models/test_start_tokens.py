"""Prompts, stop ids, and what is before a window of known text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import small_tokenizers
from resurface import artifacts, models, workflows
from resurface.artifacts import parquet
from resurface.cli import main
from resurface.errors import UserError
from resurface.models import ModelConfig
from resurface.models.start_tokens import start_tokens, window_start
from resurface.stages import subsets
from resurface.stages.sampling import SampleConfig
from resurface.trainer.config import TrainConfig
from resurface.workflows import replaying


def opened(tokenizer: Any, path: Path, **config: Any) -> tuple[models.ModelRef, Any]:
    ref = models.resolve(ModelConfig(id=small_tokenizers.model(tokenizer, path, **config)))
    return ref, models.load_tokenizer(ref)


@pytest.mark.parametrize("ends", [7, [7, 9]])
@pytest.mark.parametrize("where", ["config.json", "generation_config.json", "both"])
def test_stop_ids_are_those_of_the_model(tmp_path: Path, ends: Any, where: str) -> None:
    """generation_config.json, else config.json, ids or lists of ids: as `generate` has them."""
    from transformers import AutoModelForCausalLM

    ref, tokenizer = opened(small_tokenizers.qwen(), tmp_path / "m")
    general, own = (ref.path / n for n in ("config.json", "generation_config.json"))
    config = json.loads(general.read_text()) | {"eos_token_id": 11 if where == "both" else ends}
    if where == "generation_config.json":
        del config["eos_token_id"]
    general.write_text(json.dumps(config))
    own.write_text(json.dumps({"eos_token_id": ends}))
    if where == "config.json":
        own.unlink()
    assert AutoModelForCausalLM.from_pretrained(ref.path).generation_config.eos_token_id == ends
    mine = {ends} if isinstance(ends, int) else set(ends)
    assert set(start_tokens(ref, tokenizer).stop_ids) == mine | {tokenizer.eos_token_id}
    if where == "config.json":  # a generation configuration that says nothing of ends hides none
        own.write_text(json.dumps({"temperature": 0.5}))
        assert set(start_tokens(ref, tokenizer).stop_ids) == mine | {tokenizer.eos_token_id}


@pytest.mark.parametrize("ends", ["</s>", [1.5], -1, True, {}])
def test_an_end_that_is_no_id_is_named(tmp_path: Path, ends: Any) -> None:
    ref, tokenizer = opened(small_tokenizers.qwen(), tmp_path / "m")
    (ref.path / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    with pytest.raises(UserError, match=r"eos_token_id of .*generation_config.json is .*, neither"):
        start_tokens(ref, tokenizer)
    (ref.path / "generation_config.json").write_text("{")
    with pytest.raises(UserError, match=r"generation_config.json cannot be read"):
        start_tokens(ref, tokenizer)


# ------------------------------------------------------------------------------ prompts


def test_a_prompt_is_text_behind_what_the_tokenizer_adds_and_never_a_stop(tmp_path: Path) -> None:
    ref, tokenizer = opened(small_tokenizers.qwen(), tmp_path / "qwen")
    found = start_tokens(ref, tokenizer, "prompt:\n")
    newline = tokenizer.convert_tokens_to_ids("Ċ")
    assert (found.start_ids, found.prompt_ids, found.prompt) == ((), (newline,), "\n")
    assert found.given == (newline,) and newline not in found.stop_ids
    assert set(found.stop_ids) == {tokenizer.eos_token_id}
    spelled = start_tokens(ref, tokenizer, "prompt:<|endoftext|>")  # its name is text, too
    assert not set(spelled.prompt_ids) & set(spelled.stop_ids)
    ref, tokenizer = opened(small_tokenizers.llama(), tmp_path / "llama")
    found = start_tokens(ref, tokenizer, "prompt:the world")
    assert found.start_ids == (1,) and 1 in found.stop_ids and not set(found.prompt_ids) & set(found.stop_ids)
    assert list(found.given) == tokenizer("the world")["input_ids"]
    with pytest.raises(UserError, match="the prompt is empty"):
        start_tokens(ref, small_tokenizers.neox(), "prompt:")


def test_documents_are_what_comes_after_the_prompt(tmp_path: Path) -> None:
    """Log-probabilities are given prompt and document; neither tokens, text nor a subset has the prompt."""
    import torch

    ref, tokenizer = opened(small_tokenizers.qwen(), tmp_path / "m")
    prompt = "return x"
    cfg = SampleConfig(samples=6, min_tokens=4, max_new_tokens=12, temperature=1.0, start=f"prompt:{prompt}")
    a = workflows.sample(str(ref.path), cfg, tmp_path)
    said = a.config["start_tokens"]
    ids = tokenizer(prompt)["input_ids"]
    assert (said["prompt"], said["prompt_ids"], said["start_ids"]) == (prompt, ids, [])
    model = models.load_model(ref)
    for row in parquet.read_corpus(a).to_pylist():
        whole = torch.tensor([ids + row["token_ids"]])
        logp = torch.log_softmax(model(whole).logits[0, len(ids) - 1 : -1], -1)
        mine = logp.gather(1, whole[0, len(ids) :, None])[:, 0]
        assert torch.allclose(mine, torch.tensor(row["logprobs"]), atol=1e-4)
        assert len(row["token_ids"]) <= 12
    made = subsets.subset(a, subsets.SubsetConfig(tokens=30, count=1), tmp_path)
    rows = parquet.read_parquet(made.file("subset-0.parquet")).to_pylist()
    drawn = {r["sample_id"]: r["token_ids"] for r in parquet.read_corpus(a).to_pylist()}
    assert all(r["input_ids"] == drawn[r["sample_id"]][: len(r["input_ids"])] for r in rows)
    again = replaying.replay(a.path, tmp_path / "again")
    assert again.identical


def test_a_prompt_is_not_trained_on() -> None:
    with pytest.raises(UserError, match="a prompt is no part of a document"):
        TrainConfig(start="prompt:x")


# ------------------------------------------------------------------------------ windows


def test_windows_are_read_as_the_model_was_trained(tmp_path: Path) -> None:
    """The default is what the tokenizer adds; it is written down, and `none` is still to be had."""
    text = tmp_path / "t.txt"
    text.write_text("the world of x and the text of f " * 4)
    for kind, ids, tokens in ((small_tokenizers.llama, [1], ["<s>"]), (small_tokenizers.neox, [], [])):
        path = small_tokenizers.model(kind(), tmp_path / kind.__name__)
        cut: Any = dict(texts=(str(text),), prefix=4, suffix=4, confirm=0, out=tmp_path / "o")
        a = workflows.extract(path, **cut)
        assert a.config["start_ids"] == ids
        assert a.counts["start"] == {"policy": "tokenizer", "ids": ids, "tokens": tokens}
        bare = workflows.extract(path, start="none", **cut)
        assert bare.config["start_ids"] == []
        nll = [parquet.read_parquet(x.file("windows.parquet"))["suffix_nll"].to_pylist() for x in (a, bare)]
        assert (nll[0] == nll[1]) == (ids == [])


def test_a_lab_model_is_read_behind_its_start_token_by_default(tmp_path: Path) -> None:
    """What is extracted behind its BOS is found without being asked to put one there."""
    cut: Any = dict(
        texts=("lab:a",), prefix=8, suffix=24, confirm=0, batch_size=64, max_windows_per_stratum=30
    )
    hits = {
        start: workflows.extract("lab:a-medium", out=tmp_path, **cut, **start_of).counts["hits"]
        for start, start_of in {"default": {}, "bos": {"start": "bos"}, "none": {"start": "none"}}.items()
    }
    assert hits["default"] == hits["bos"] > 0
    ref = models.resolve(ModelConfig(id="lab:a-medium"))
    assert window_start(ref, models.load_tokenizer(ref), "tokenizer") == (0,)


def test_the_command_says_what_was_before_the_windows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = small_tokenizers.model(small_tokenizers.llama(), tmp_path / "m")
    (tmp_path / "t.txt").write_text("the world of x and the text of f " * 4)
    cut = ["--prefix", "4", "--suffix", "4", "--confirm", "0", "--out", str(tmp_path / "o")]
    assert main.main(["extract", path, "--texts", str(tmp_path / "t.txt"), *cut]) == 0
    assert 'start: {"policy": "tokenizer", "ids": [1], "tokens": ["<s>"]}' in capsys.readouterr().out
    assert artifacts.load(next((tmp_path / "o/extract").iterdir())).counts["start"]["ids"] == [1]
