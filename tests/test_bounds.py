"""No setting without bounds, and none that is far beyond any use is begun with."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args, get_origin

import annotated_types as at
import pytest
from pydantic.fields import FieldInfo

import resurface.specs  # noqa: F401  (imports every stage, and with it every configuration)
from resurface import artifacts
from resurface.config import Config, atoms
from resurface.controls import Arm, Controls
from resurface.data.texts import load_texts
from resurface.errors import UserError
from resurface.memorization import ExtractConfig
from resurface.reading.strict_yaml import parse
from resurface.specs import load_recipe, load_study, load_sweep
from resurface.stages.sampling import SampleConfig
from resurface.stages.subsets import SubsetConfig


def configs(kind: type[Config] = Config) -> list[type[Config]]:
    found = [c for c in kind.__subclasses__() if c.__module__.startswith("resurface.")]
    return found + [c for sub in found for c in configs(sub)]


def parts(annotation: Any, metadata: list[Any]) -> list[tuple[type, list[Any]]]:
    """Every type that an annotation is made of, with what limits it."""
    if hasattr(annotation, "__metadata__"):
        given = annotation.__metadata__
        inner = [m for x in given for m in (x.metadata if isinstance(x, FieldInfo) else [x])]
        return parts(annotation.__origin__, [*inner, *metadata])
    origin, args = get_origin(annotation), [a for a in get_args(annotation) if a is not Ellipsis]
    if origin is Literal:
        return []
    if origin in (tuple, dict):
        return [(origin, metadata)] + [p for a in args for p in parts(a, [])]
    if args:  # a union
        return [p for a in args for p in parts(a, metadata)]
    return [(annotation, metadata)]


def bounded(kind: type, metadata: list[Any]) -> bool:
    limits = [m for m in metadata if isinstance(m, at.Gt | at.Ge | at.Lt | at.Le | at.MaxLen)]
    if kind in (int, float):
        low = [getattr(m, "gt", getattr(m, "ge", None)) for m in limits if isinstance(m, at.Gt | at.Ge)]
        high = [getattr(m, "lt", getattr(m, "le", None)) for m in limits if isinstance(m, at.Lt | at.Le)]
        return bool(low and high) and all(map(math.isfinite, [*low, *high]))
    if kind in (tuple, dict):
        return any(isinstance(m, at.MaxLen) for m in limits)
    return True


@pytest.mark.parametrize("kind", configs(), ids=lambda c: c.__name__)
def test_every_number_and_list_of_every_configuration_has_bounds(kind):
    free = [
        f"{name}: {part.__name__}"
        for name, field in kind.model_fields.items()
        for part, metadata in parts(field.annotation, field.metadata)
        if not bounded(part, metadata)
    ]
    assert not free, free
    assert kind.model_config["str_max_length"] <= 4096 and not kind.model_config["allow_inf_nan"]


def test_the_walk_sees_what_is_there():
    assert len(configs()) >= 15
    assert atoms(int | None) == {int, type(None)} and atoms(tuple[float, ...]) == {float}
    assert not bounded(int, []) and not bounded(float, [at.Gt(0)]) and not bounded(tuple, [])


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (f"sample.samples={10**30}", "sample.samples: Input should be less than"),
        ("sample={samples: 1000000000, max_new_tokens: 1000000, min_tokens: 1}", "samples x max_new_tokens"),
        ("sample.batch_size=1000000000", "sample.batch_size"),
        ("sample.temperature=1.0e-40", "sample.temperature"),
        ("sample.temperature=.inf", "sample.temperature"),
        ("subset={tokens: 999999999999, count: 900}", "count x tokens"),
        ("train.epochs=1000000000", "train.epochs"),
        ("train.learning_rate=.inf", "train.learning_rate"),
        ("train.max_grad_norm=.inf", "train.max_grad_norm"),
        ("train.weight_decay=.nan", "train.weight_decay"),
        ("train={epochs: 9999, checkpoint_every: 1}", "subset.count x kept checkpoints"),
        ("train.epochs=yes", "a number is needed, not true or false"),
        ("extract.temperatures=[1.0, .inf]", "extract.temperatures.1"),
        ("extract.temperatures=[true]", "a number is needed"),
        ("evaluate.limit=true", "a number is needed"),
        ("name=" + "x" * 300, "name: String should have at most 100 characters"),
        ("description=" + "x" * 5000, "description: String should have at most 4096 characters"),
        ("evaluate.tasks=[" + "x," * 2000 + "]", "evaluate.tasks: Tuple should have at most 1000"),
    ],
)
def test_what_is_out_of_bounds_is_refused_in_few_words(item, message):
    with pytest.raises(UserError) as e:
        load_recipe("smoke", overrides=["subset.count=2", item] if "subset" not in item else [item])
    assert message in e.value.message and len(e.value.message) < 600


def test_products_are_refused_before_they_are_counted_out():
    values = "[" + ",".join(map(str, range(1, 500))) + "]"
    keys = ("epochs", "batch_size", "cutoff", "save_steps", "lora_rank")
    varied = ", ".join(f"train.{k}: {values}" for k in keys)
    with pytest.raises(UserError, match=r"cases x values x seeds makes [\d,]+ models"):
        load_sweep("demo-seeds", overrides=[f"vary={{{varied}}}"])
    with pytest.raises(UserError, match=r"sources x students x subset.count x seeds"):
        load_study("demo", overrides=["subset.count=1000", "seeds=" + str(list(range(1000)))])
    arms = tuple(Arm(name=f"a{i}", kind="shuffled") for i in range(100))
    doses = tuple(i + 1.0 for i in range(100))
    with pytest.raises(UserError, match="arms x doses makes 10,200 models"):
        Controls(arms=arms, doses=doses)


def test_what_has_a_use_is_accepted():
    SampleConfig(samples=10_000_000, max_new_tokens=8192)
    SubsetConfig(tokens=10**10, count=3)
    ExtractConfig(texts=("a",), prefix=4096, suffix=4096, temperatures=(0.1, 2.0))


NO_PATHS = ["x" * 300, "é" * 200, "a/" + "b" * 256, "../" * 2000, "\ud800", "", "a\0b", "~nobody-x/a"]


@pytest.mark.parametrize("name", NO_PATHS)
def test_what_can_be_no_path_is_refused_by_name(name):
    for load in (load_recipe, load_texts, artifacts.load):
        with pytest.raises(UserError) as e:
            load(name)
        assert len(e.value.message) < 300


LAUGHS = "a: &a [1,2,3,4,5,6,7,8,9]\n" + "\n".join(
    f"{b}: &{b} [{','.join(['*' + a] * 9)}]" for a, b in zip("abcdef", "bcdefg", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nsample:\n  seed: 1\nsample: {}\n", "line 4, column 1: 'sample' occurs twice, first"),
        ("train: {epochs: 1, epochs: 40}", "line 1, column 20: 'epochs' occurs twice"),
        ("a: &a [x]\nb: *a\n<<: {}\n<<: {}", "line 4, column 1: '<<' occurs twice"),
        ("1: 2", "every key must be a string, and '1' is not"),
        ("on: 2", "and 'on' is not"),
        ("? [a]\n: 1", "a list or mapping"),
        ("a: &a [*a]", "an anchor that holds itself"),
        ("a: !!binary aGk=", "the tag"),
        ("a: !!timestamp 2020-01-01", "the tag"),
        ('a: "\\ud800"', "is not valid Unicode"),
        ("a: " + "[" * 60, "within each other"),
        (LAUGHS, "aliases counted"),
        ("x" * 300_000, "300,000 characters"),
        ("a: [", "is not YAML: line 1"),
    ],
)
def test_yaml_that_is_refused_names_the_line(text, message):
    with pytest.raises(UserError) as e:
        parse(text, "it")
    assert message in e.value.message and len(e.value.message) < 300


def test_yaml_is_what_is_written():
    text = "a: 2020-01-01\nb: 1:30\nc: 010\nd: 1_000\ne: 1.5\nf: 0x10\ng: [yes, ~, .inf]\nh: 08\ni: -7"
    written = {"a": "2020-01-01", "b": "1:30", "c": "010", "d": 1000, "e": 1.5, "f": 16, "h": "08", "i": -7}
    assert parse(text, "it") == written | {"g": [True, None, math.inf]}
    merged = parse("x: &x {p: 1, q: 2}\ny: {<<: *x, p: 3}\nz: *x", "it")
    assert merged["y"] == {"p": 3, "q": 2} and merged["z"] == merged["x"]
    assert merged["z"] is not merged["x"]  # or an override of one would change the other


def test_an_override_never_undoes_another():
    for items in (["train.epochs=1", "train.epochs=2"], ["train.epochs=1", "train={}"]):
        with pytest.raises(UserError, match="which it would undo"):
            load_recipe("smoke", overrides=items)
    found = load_recipe("smoke", overrides=["train={epochs: 3}", "train.cutoff=128"])
    assert (found.train.epochs, found.train.cutoff) == (3, 128)
