"""How each family speaks of the world. No wording is shared between families, nor with the benchmark.

facts: attribute -> sentences with {n} (name) and {v} (value). addition: sentences with {a}, {b}, {c}.
agreement: {s} subject, {p} other noun, {v} is/are, {j} adjective. tracking: three sentences each, of
putting, of moving, and of where it is in the end ({x} thing, {l} place).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Phrasing:
    facts: Mapping[str, tuple[str, ...]]
    addition: tuple[str, ...]
    agreement: tuple[str, ...]
    tracking: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]


A = Phrasing(
    facts={
        "city": ("{n} was born in {v}.", "{n} grew up in {v}.", "The home town of {n} is {v}."),
        "job": ("{n} works as a {v}.", "{n} is a {v}.", "The job of {n} is {v}."),
        "food": ("{n} likes to eat {v}.", "{n} often eats {v}.", "The best meal for {n} is {v}."),
        "pet": ("{n} has a {v}.", "{n} owns a {v}.", "The pet of {n} is a {v}."),
        "hobby": ("{n} enjoys {v}.", "{n} is fond of {v}.", "On Sunday {n} goes {v}."),
    },
    addition=(
        "{a} plus {b} is {c}.",
        "The sum of {a} and {b} is {c}.",
        "If you add {a} and {b} you get {c}.",
    ),
    agreement=(
        "The {s} near the {p} {v} {j}.",
        "The {s} behind the {p} {v} very {j}.",
        "The {s} under the {p} {v} not {j}.",
    ),
    tracking=(
        ("Someone puts the {x} in the {l}.", "The {x} is put in the {l}."),
        ("Then the {x} is moved to the {l}.", "Someone moves the {x} to the {l}."),
        ("Now the {x} is in the {l}.", "At the end the {x} is in the {l}."),
    ),
)

B = Phrasing(
    facts={
        "city": ("{v} is where {n} comes from.", "{n}, who hails from {v}.", "Birthplace of {n}: {v}."),
        "job": ("{n} earns money as a {v}.", "Occupation of {n}: {v}.", "They hired {n} as their {v}."),
        "food": ("{n} cannot resist {v}.", "Favourite dish of {n}: {v}.", "For lunch {n} orders {v}."),
        "pet": ("{n} takes care of a {v}.", "Animal of {n}: {v}.", "{n} bought a {v}."),
        "hobby": ("{n} spends evenings {v}, so {v} it is.", "Pastime of {n}: {v}.", "{n} is good at {v}."),
    },
    addition=("{a} and {b} make {c}.", "{a} plus {b} makes {c}.", "Together {a} and {b} are {c}."),
    agreement=(
        "Surely the {s} beside the {p} {v} {j}.",
        "We saw that the {s} above the {p} {v} {j}.",
        "It seems the {s} of the {p} {v} quite {j}.",
    ),
    tracking=(
        ("First the {x} goes into the {l}.", "They left the {x} inside the {l}."),
        ("Later they bring the {x} into the {l}.", "Next the {x} goes into the {l}."),
        ("So they find the {x} inside the {l}.", "Finally the {x} stays inside the {l}."),
    ),
)

C = Phrasing(
    facts={
        "city": ("Born: {n}, {v}.", "We met {n} from {v}.", "The family of {n} lives in {v}."),
        "job": ("Ask {n}, the {v}.", "As a {v}, {n} is known to all.", "{n} became a {v}."),
        "food": ("{n} dreams of {v}.", "Give {n} some {v}.", "On the plate of {n} there is {v}."),
        "pet": ("{n} walks with a {v}.", "A {v} sleeps in the house of {n}.", "{n} feeds a {v}."),
        "hobby": ("{n} practises {v}.", "You will see {n} at {v}.", "{n} won a prize for {v}."),
    },
    addition=(
        "{a} plus {b} equals {c}.",
        "Adding {a} to {b} gives {c}.",
        "{c} is what {a} and {b} amount to.",
    ),
    agreement=(
        "Here the {s} with the {p} {v} {j}.",
        "Today the {s} from the {p} {v} rather {j}.",
        "They say the {s} on the {p} {v} {j}.",
    ),
    tracking=(
        ("In the {l} lies the {x}.", "A child hides the {x} in the {l}."),
        ("A child carries the {x} to the {l}.", "Soon the {x} travels to the {l}."),
        ("Look for the {x} in the {l}.", "By night the {x} rests in the {l}."),
    ),
)

PHRASINGS: Mapping[str, Phrasing] = {"a": A, "b": B, "c": C}
