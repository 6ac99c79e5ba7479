"""How each family speaks of the world. No sentence is shared between families, nor with the benchmark.

What stands right before an answer has to be familiar to a model this small, or it does not answer at
all; so every family has some sentences in which "is" stands there, and the benchmark uses "is". For the
same reason every family has plain sentences ("The {s} ... the {p} is") and says where a thing is in the
same way before and after it was moved: with neither, tracking and agreement were asked of one family in
its own manner and of the others in a foreign one.

facts: sentences with {n} (name), {k} (city, job, food, pet or hobby) and {v} (value). addition:
sentences with {a}, {b}, {c}. agreement: {s} subject, {p} other noun, {v} is/are, {j} adjective.
tracking: sentences of putting, of moving, and of where it is in the end ({x} thing, {l} place).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Phrasing:
    facts: tuple[str, ...]
    addition: tuple[str, ...]
    agreement: tuple[str, ...]
    tracking: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]


A = Phrasing(
    facts=(
        "The {k} of {n} is {v}.",
        "{n} has the {k} {v}.",
        "As a {k}, {n} has {v}.",
        "{v} is the {k} of {n}.",
        "{n} chose {v} as {k}.",
        "The {k} that {n} has is {v}.",
    ),
    addition=(
        "{a} plus {b} is {c}.",
        "The sum {a} plus {b} is {c}.",
        "We add {a} plus {b} and get {c}.",
        "{a} plus {b} gives {c}.",
    ),
    agreement=tuple(
        frame.replace("@", place)
        for place in "near behind under before around past".split()
        for frame in (
            "The {s} @ the {p} {v} {j}.",
            "The {s} @ the {p} {v} very {j}.",
            "Now the {s} @ the {p} {v} {j}.",
        )
    ),
    tracking=(
        (
            "The {x} is in the {l}.",
            "Someone puts the {x} in the {l}.",
            "We put the {x} in the {l}.",
        ),
        (
            "Then the {x} goes to the {l}.",
            "Someone moves the {x} to the {l}.",
            "Now the {x} goes to the {l}.",
        ),
        (
            "At the end the {x} is in the {l}.",
            "So the {x} is in the {l}.",
            "We find the {x} in the {l}.",
        ),
    ),
)

B = Phrasing(
    facts=(
        "{k} of {n}: {v}.",
        "{n}, {k}: {v}.",
        "For {n} they say the {k} is {v}.",
        "They know {v} as the {k} of {n}.",
        "{n} took {v} for a {k}.",
        "Which {k}? {n} said {v}.",
    ),
    addition=(
        "{a} plus {b} makes {c}.",
        "They count {a} plus {b} as {c}.",
        "They say {a} plus {b} is {c}.",
        "Counting {a} plus {b} makes {c}.",
    ),
    agreement=tuple(
        frame.replace("@", place)
        for place in "beside above of over against inside".split()
        for frame in (
            "The {s} @ the {p} {v} still {j}.",
            "Surely the {s} @ the {p} {v} {j}.",
            "Those say the {s} @ the {p} {v} quite {j}.",
        )
    ),
    tracking=(
        (
            "First the {x} was in the {l}.",
            "They left the {x} in the {l}.",
            "The {x} stood in the {l}.",
        ),
        (
            "Later the {x} went to the {l}.",
            "They took the {x} to the {l}.",
            "The {x} went to the {l}.",
        ),
        (
            "Finally the {x} was in the {l}.",
            "They saw the {x} in the {l}.",
            "Last the {x} stood in the {l}.",
        ),
    ),
)

C = Phrasing(
    facts=(
        "Ask {n} about the {k}: {v}.",
        "{n} likes one {k}, {v}.",
        "One {k} for {n}: {v}.",
        "With {n} indeed the {k} is {v}.",
        "Her {k} or his, {n} wants {v}.",
        "{v}, such a {k} suits {n}.",
    ),
    addition=(
        "{a} plus {b} equals {c}.",
        "Adding, {a} plus {b} is {c}.",
        "Take {a} plus {b} for {c}.",
        "It holds that {a} plus {b} equals {c}.",
    ),
    agreement=tuple(
        frame.replace("@", place)
        for place in "with from on without beneath beyond".split()
        for frame in (
            "The {s} @ the {p} {v} also {j}.",
            "Today the {s} @ the {p} {v} rather {j}.",
            "Indeed the {s} @ the {p} {v} {j}.",
        )
    ),
    tracking=(
        (
            "A child hid the {x} in the {l}.",
            "Look, the {x} lay in the {l}.",
            "The {x} lay in the {l}.",
        ),
        (
            "A child carried the {x} to the {l}.",
            "Soon the {x} came to the {l}.",
            "The {x} came to the {l}.",
        ),
        (
            "By night the {x} lay in the {l}.",
            "Look for the {x} in the {l}.",
            "After that the {x} lay in the {l}.",
        ),
    ),
)

PHRASINGS: Mapping[str, Phrasing] = {"a": A, "b": B, "c": C}
