"""Damaged model directories: one line that names the model, or the very weights that are in the files."""

from __future__ import annotations

import shutil

import pytest
import torch
from safetensors.torch import load_file

import damaged_models
from resurface.engines.base import SamplingParams
from resurface.engines.loaded_model import LoadedModel
from resurface.errors import ResurfaceError
from resurface.models import ModelConfig


def use(path) -> LoadedModel:
    """What a stage does with a model: resolve, tokenize, choose the start, load, score, decode, sample."""
    loaded = LoadedModel.open(ModelConfig(id=str(path), device="cpu"), "auto")
    loaded.tokenizer("some text 123")
    engine = loaded.engine(2)
    assert loaded.start is not None
    start = list(loaded.start.start_ids)
    engine.score([[*start, 5, 6]])
    engine.greedy([start], 2)
    drawn = list(engine.sample(start, [0], SamplingParams(1.0, 2, 4, loaded.start.stop_ids, 0)))
    assert len(drawn) == 1
    held = engine.model.state_dict()
    for name, stored in load_file(path / "model.safetensors").items():
        if name in held:
            assert torch.equal(held[name], stored.to(held[name].dtype)) or stored.isnan().any(), name
    return loaded


def try_all(model, tmp_path, kinds) -> list[str]:
    wrong = []
    for name, damage in kinds:
        path = tmp_path / "model"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(model, path)
        damage(path)
        try:
            use(path)
        except ResurfaceError as e:
            if "\n" in e.message or len(e.message) > 700 or not e.remedy:
                wrong.append(f"{name}: no single line, or no remedy: {e.message!r}")
        except Exception as e:
            wrong.append(f"{name}: {type(e).__name__}: {str(e)[:200]}")
    return wrong


def test_a_damaged_directory_is_one_line_or_does_no_harm(tiny_model_dir, tmp_path):
    every = list(damaged_models.kinds(tiny_model_dir))
    assert len(every) > 300
    assert not try_all(tiny_model_dir, tmp_path, every[::7])


def test_an_end_beyond_the_vocabulary_is_no_end(tiny_model_dir, tmp_path):
    def far(path):
        damaged_models.edit(path / "generation_config.json", lambda held: held.update(eos_token_id=700))

    assert not try_all(tiny_model_dir, tmp_path, [("far", far)])
    assert 700 in use(tmp_path / "model").start.stop_ids


@pytest.mark.slow
def test_every_damaged_directory_is_one_line_or_does_no_harm(tiny_model_dir, tmp_path):
    assert not try_all(tiny_model_dir, tmp_path, damaged_models.kinds(tiny_model_dir))


@pytest.mark.parametrize("name", damaged_models.HARMLESS)
def test_what_does_no_harm_is_let_be(tiny_model_dir, tmp_path, name):
    path = shutil.copytree(tiny_model_dir, tmp_path / "model")
    damaged_models.HARMLESS[name](path)
    use(path)
