"""A prefix of one's own: registered once, it names models, texts and tasks like `lab:`."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from resurface import benchmarks, models, providers
from resurface.benchmarks.chance import chance
from resurface.data.texts import load_texts
from resurface.errors import UserError
from resurface.models import ModelConfig


@pytest.fixture
def mine(tiny_model_dir, monkeypatch):
    import datasets

    rows = [{"query": f"w{i}", "choices": ["a", "b", "c"], "answer": i % 3} for i in range(4)]

    def check_task(name):
        if name != "mine:quiz":
            raise UserError(f"no task {name}")

    module = ModuleType("a_provider")
    module.model = lambda name: tiny_model_dir
    module.texts = lambda name: [("one", f"text of {name}", "known")]
    module.check_task = check_task
    module.task = lambda name: {
        "task": "mine_quiz",
        "custom_dataset": lambda **_: datasets.DatasetDict({"test": datasets.Dataset.from_list(rows)}),
        "output_type": "multiple_choice",
        "test_split": "test",
        "doc_to_text": "{{query}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    module.tasks_fingerprint = lambda names: "-".join(names)
    module.choices = lambda name: 3
    monkeypatch.setitem(sys.modules, "a_provider", module)
    monkeypatch.setattr(providers, "_PROVIDERS", dict(providers._PROVIDERS))
    providers.register("mine", "a_provider")


def test_a_registered_prefix_names_models_texts_and_tasks(mine, tmp_path):
    ref = models.resolve(ModelConfig(id="mine:tiny"))
    assert ref.kind == "mine"
    assert load_texts("mine:book")[0].text == "text of mine:book"
    benchmarks.check_tasks(["mine:quiz"])
    with pytest.raises(UserError, match="no task mine:other"):
        benchmarks.check_tasks(["mine:other"])
    assert chance("mine:quiz") == pytest.approx(1 / 3)


def test_a_prefix_belongs_to_one_module(mine):
    providers.register("mine", "a_provider")
    with pytest.raises(ValueError, match="is the prefix of a_provider"):
        providers.register("mine", "another")
    assert providers.provider("C:/mine") is None and providers.prefix_of("mine") is None
