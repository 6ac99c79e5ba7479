"""The lab's benchmark: four skills, multiple choice, in a wording that no family has read.

    facts       what is known of a person (all people; these must be known, not derived)
    addition    two-digit sums that stand in no corpus
    agreement   is/are with an intervening noun; pairs of nouns that stand in no corpus
    tracking    where a thing is after others were moved; stories made anew

Every skill has a `dev` split, to choose recipes on, and a `report` split; no item is in both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from resurface.lab import world as w
from resurface.lab.world import World

SKILLS = ("facts", "addition", "agreement", "tracking")
SPLITS = ("dev", "report")
_TRACKING_ITEMS = 1200

FACTS = "About {n}, the {k} is"
ADDITION = "In all, {a} plus {b} is"
# words that every family knows from its stories, and none from here: asked with a word that no model has
# read, a family answers well or at random by luck
AGREEMENT = ("The {s} in the {p}", "The {s} to the {p}")
TRACKING = (
    "The {x} starts in the {l}. The {y} starts in the {m}. The {z} moves to the {k}. The {q} ends in the"
)


def rows(world: World, skill: str) -> dict[str, list[dict[str, Any]]]:
    """split -> rows {id, query, choices, answer}; the answer is an index into choices.

    Raises:
        KeyError: no such skill.
    """
    make = {"facts": _facts, "addition": _addition, "agreement": _agreement, "tracking": _tracking}[skill]
    rng = np.random.default_rng([world.seed, 4, *skill.encode()])
    found: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    for number, (query, right, wrong) in enumerate(make(world, rng)):
        choices = [right, *wrong]
        order = rng.permutation(len(choices)).tolist()
        row = {
            "id": f"{skill}-{number}",
            "query": query,
            "choices": [choices[i] for i in order],
            "answer": order.index(0),
        }
        found["dev" if number % 4 == 0 else "report"].append(row)
    return found


Item = tuple[str, str, list[str]]  # query, right, wrong


def _facts(world: World, rng: np.random.Generator) -> Iterator[Item]:
    for person in world.people:
        for attribute, value in person.facts.items():
            others = [v for v in w.VALUES[attribute] if v != value]
            wrong = rng.choice(others, 3, replace=False).tolist()
            yield FACTS.format(n=person.name, k=attribute), value, wrong


def _addition(world: World, rng: np.random.Generator) -> Iterator[Item]:
    pairs = [(a, b) for a in range(10, 100) for b in range(10, 100) if w.kept_out("sum", a, b)]
    for i in rng.permutation(len(pairs)).tolist():
        a, b = pairs[i]
        off = rng.choice([-10, -1, 1, 10], 3, replace=False).tolist()
        yield ADDITION.format(a=a, b=b), str(a + b), [str(a + b + d) for d in off]


def _agreement(world: World, rng: np.random.Generator) -> Iterator[Item]:
    pairs = [(s, p) for s in w.NOUNS for p in w.NOUNS if s != p and w.kept_out("agreement", s, p, share=0.35)]
    items = [(s, p, many, other) for s, p in pairs for many in (0, 1) for other in (0, 1)]
    for number, i in enumerate(rng.permutation(len(items)).tolist()):
        s, p, many, other = items[i]
        query = AGREEMENT[number // 4 % 2].format(s=w.plural(s) if many else s, p=w.plural(p) if other else p)
        verbs = ["are", "is"] if many else ["is", "are"]
        yield query, verbs[0], verbs[1:]


def _tracking(world: World, rng: np.random.Generator) -> Iterator[Item]:
    for number in range(_TRACKING_ITEMS):
        x, y = rng.choice(w.OBJECTS, 2, replace=False).tolist()
        first, second, third, never = rng.choice(w.PLACES, 4, replace=False).tolist()
        # each place named is right equally often: naming the last one, whatever is asked, must not pay
        z, q = ((y, x), (x, y), (x, x), (y, x), (x, y), (y, y))[number % 6]
        where = {x: first, y: second} | {z: third}
        query = TRACKING.format(x=x, l=first, y=y, m=second, z=z, k=third, q=q)
        wrong = [p for p in (first, second, third, never) if p != where[q]]
        yield query, where[q], wrong
