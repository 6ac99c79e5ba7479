"""A small closed world: people with attributes, things that are added, counted and moved.

Everything follows from a seed. Every family of models reads about the same world in words of its
own (`phrasing`), and is asked about it in words of none (`questions`).
"""

from __future__ import annotations

import string
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from resurface.errors import UserError

FIRST = (
    "Ada Ben Cara Dan Ella Finn Gina Hugo Ida Jack Kira Leo Mia Noah Olga Paul Rosa Sam Tina Uri Vera Will "
    "Yara Zoe Anton Bella Clara David Emil Fiona Greta Henry Iris Jonas Karla Lukas"
).split()
LAST = (
    "Adams Baker Clark Dixon Evans Fisher Gray Hill Irwin Jones King Lewis Moore Nolan Owens Price Quinn "
    "Reed Stone Turner Underwood Vance White Young Archer Brooks Cole Drake Ellis Ford Grant Hayes"
).split()
VALUES: Mapping[str, tuple[str, ...]] = {
    "city": tuple(
        "Paris London Madrid Berlin Rome Vienna Oslo Dublin Lisbon Athens Prague Warsaw Cairo Tokyo Delhi "
        "Lima Boston Geneva Moscow Sydney".split()
    ),
    "job": tuple(
        "doctor teacher farmer painter lawyer baker pilot nurse sailor tailor singer writer dentist "
        "plumber miner judge grocer barber clerk chemist".split()
    ),
    "food": tuple(
        "rice soup bread cheese pasta salad honey apples beans fish cake eggs plums corn nuts grapes "
        "pizza butter pears onions".split()
    ),
    "pet": tuple(
        "cat dog horse parrot rabbit turtle hamster goat duck snake lizard goose pony pigeon ferret donkey "
        "frog mouse sheep canary".split()
    ),
    "hobby": tuple(
        "chess tennis dancing sewing fishing hiking rowing cooking skating cycling pottery reading archery "
        "boxing sailing gardening knitting swimming climbing running".split()
    ),
}
NOUNS = tuple(
    "key lamp chair book door clock stone boat cup plate coat wheel table bell rope brush box coin chain "
    "glove shelf spoon candle window".split()
)
IRREGULAR = {"box": "boxes", "brush": "brushes", "shelf": "shelves"}
ADJECTIVES = tuple(
    "old new red green blue heavy light clean dirty broken cheap rare small large wet dry cold warm".split()
)
OBJECTS = tuple("ball ring map pen doll drum flag kite mask nail pin rug shoe toy vase watch".split())
PLACES = tuple(
    "bag basket drawer garden kitchen attic cellar garage "
    "barn tower chest closet cabin shed hall crate".split()
)


@dataclass(frozen=True)
class Person:
    """facts: attribute -> value, one of each of `VALUES`."""

    name: str
    facts: Mapping[str, str]


@dataclass(frozen=True)
class World:
    seed: int
    people: tuple[Person, ...]


def make_world(seed: int = 0, people: int = 240) -> World:
    """`people` persons with distinct names and uniformly drawn attributes.

    Worlds that have more people than pairs of a first and a last name put a letter between the two.

    Raises:
        UserError: more people than there are names.
    """
    check_people(people)
    plain = len(FIRST) * len(LAST)
    middle = [""] if people <= plain else [f" {letter}" for letter in string.ascii_uppercase]
    most = plain * len(middle)
    rng = np.random.default_rng([seed, 1])
    picks = rng.choice(most, people, replace=False)
    persons = tuple(
        Person(
            f"{FIRST[i % len(FIRST)]}{middle[i // plain]} {LAST[i % plain // len(FIRST)]}",
            {a: values[int(rng.integers(len(values)))] for a, values in VALUES.items()},
        )
        for i in picks.tolist()
    )
    return World(seed, persons)


def check_people(people: int) -> None:
    """Raise UserError if a world cannot have that many people."""
    most = len(FIRST) * len(LAST) * len(string.ascii_uppercase)
    if not 0 < people <= most:
        raise UserError(
            f"a world of {people} people: it has names for 1 to {most:,}", remedy="--people 240, for instance"
        )


def plural(noun: str) -> str:
    return IRREGULAR.get(noun, noun + "s")


def kept_out(*parts: object, share: float = 0.1) -> bool:
    """Whether this combination is kept out of every corpus, so that knowing it takes a rule.

    A hash decides, so corpora and questions agree without knowing of each other.
    """
    return zlib.crc32("|".join(map(str, parts)).encode()) < share * 2**32
