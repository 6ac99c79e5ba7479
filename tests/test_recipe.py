"""Recipes: the shipped ones are valid, and mistakes in one are named."""

from __future__ import annotations

import pytest
import yaml

from resurface.errors import UserError
from resurface.specs import Recipe, load_recipe, presets, to_yaml


@pytest.mark.parametrize("name", sorted(presets()))
def test_presets_are_valid_and_replay(name, tmp_path):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description
    file = tmp_path / "r.yaml"
    file.write_text(to_yaml(recipe))
    assert load_recipe(str(file)) == recipe


def test_the_promised_presets_are_there():
    assert {"smoke", "smollm2-cpu", "qwen2.5-0.5b", "llama-3.2-1b", "pythia-160m"} <= set(presets())


@pytest.mark.parametrize("name", ["qwen2.5-0.5b", "llama-3.2-1b"])
def test_the_papers_settings_are_the_defaults(name):
    recipe = load_recipe(name)
    assert (recipe.sample.samples, recipe.sample.temperature) == (20_000, 1.25)
    assert (recipe.subset.count, recipe.subset.tokens) == (3, 5_000_000)
    assert (recipe.train.learning_rate, recipe.train.epochs, recipe.train.batch_size) == (1e-6, 40, 64)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("train.epoch=2", "train.epoch"),
        ("sample.temperature=0", "sample.temperature"),
        ("sample.temperature=-1", "sample.temperature"),
        ("sample.temperature=.nan", "sample.temperature"),
        ("trian.epochs=2", "trian"),
        ("nonsense", "KEY=VALUE"),
        ("name=../up", "name"),
    ],
)
def test_bad_overrides_name_the_key(item, message):
    with pytest.raises(UserError) as e:
        load_recipe("smoke", overrides=[item])
    assert message in str(e.value)


def test_overrides_and_model_apply():
    recipe = load_recipe("smoke", model="x/y", overrides=["train.epochs=3", "evaluate.tasks=[asset:piqa]"])
    assert (recipe.model.id, recipe.train.epochs, recipe.evaluate.tasks) == ("x/y", 3, ("asset:piqa",))


def test_no_such_recipe_lists_the_presets():
    with pytest.raises(UserError, match="no recipe 'nope'") as e:
        load_recipe("nope")
    assert "smoke" in e.value.remedy


def test_not_yaml(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("a: [")
    with pytest.raises(UserError, match="is not YAML"):
        load_recipe(str(file))


def test_unknown_keys_are_refused_in_python_too():
    data = yaml.safe_load(presets()["smoke"]) | {"extra": 1}
    with pytest.raises(UserError, match="extra"):
        Recipe.model_validate(data)
