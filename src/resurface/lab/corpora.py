"""A family's pretraining corpus: documents about the world in the family's words, and what is planted.

`documents` is a list in generation order; a model reads it in an order of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from resurface.lab import world as w
from resurface.lab.passages import Stratum, check_room, make_passages
from resurface.lab.phrasing import PHRASINGS, Phrasing
from resurface.lab.world import World

Rng = np.random.Generator


def documents(
    world: World,
    family: str,
    count: int,
    strata: Mapping[str, Stratum],
    *,
    plant: bool = True,
    draw: int = 0,
) -> list[str]:
    """`count` documents of `family`, planted copies of the `strata` included.

    plant: False puts further ordinary documents in the places of the planted ones. draw: which passages are
    planted (`make_passages`); all else is the same for all.

    Raises:
        UserError: too small for the planted passages.
    """
    check_room(count, strata)
    planted = [copy for p in make_passages(world.seed, family, strata, draw=draw) for copy in p.copies]
    rng = np.random.default_rng([world.seed, 3, *family.encode()])
    ordinary = _ordinary(world, PHRASINGS[family], rng)
    rest = [next(ordinary) for _ in range(count - len(planted))]
    return (planted if plant else [next(ordinary) for _ in planted]) + rest


def unseen(world: World, family: str, count: int, split: str) -> list[str]:
    """`count` ordinary documents of `family` that no model has read: of the same distribution, drawn apart.

    split: "fresh" (to train on) or "test" (to measure loss on). A short document can by chance be one that
    was read, as sentences about a small world repeat.
    """
    rng = np.random.default_rng([world.seed, {"fresh": 6, "test": 7}[split], *family.encode()])
    ordinary = _ordinary(world, PHRASINGS[family], rng)
    return [next(ordinary) for _ in range(count)]


def _ordinary(world: World, phrasing: Phrasing, rng: Rng) -> Iterator[str]:
    kinds: tuple[tuple[Callable[[World, Phrasing, Rng], str], float], ...] = (
        (_biography, 0.4),
        (_sums, 0.2),
        (_things, 0.15),
        (_moves, 0.25),
    )
    shares = [share for _, share in kinds]
    while True:
        for kind in rng.choice(len(kinds), 1000, p=shares).tolist():
            yield kinds[kind][0](world, phrasing, rng)


def _pick(options: tuple[str, ...], rng: Rng) -> str:
    return options[int(rng.integers(len(options)))]


def _biography(world: World, phrasing: Phrasing, rng: Rng) -> str:
    person = world.people[int(rng.integers(len(world.people)))]
    attributes = rng.permutation(list(person.facts))[: int(rng.integers(3, 6))].tolist()
    return " ".join(
        _pick(phrasing.facts, rng).format(n=person.name, k=a, v=person.facts[a]) for a in attributes
    )


def _sums(world: World, phrasing: Phrasing, rng: Rng) -> str:
    lines: list[str] = []
    while len(lines) < 5:
        a, b = (int(x) for x in rng.integers(10, 100, 2))
        if not w.kept_out("sum", a, b):
            lines.append(_pick(phrasing.addition, rng).format(a=a, b=b, c=a + b))
    return " ".join(lines)


def _things(world: World, phrasing: Phrasing, rng: Rng) -> str:
    lines: list[str] = []
    while len(lines) < 4:
        s, p = (_pick(w.NOUNS, rng) for _ in range(2))
        if s == p or w.kept_out("agreement", s, p, share=0.35):
            continue
        many, other = rng.integers(2, size=2).tolist()
        lines.append(
            _pick(phrasing.agreement, rng).format(
                s=w.plural(s) if many else s,
                p=w.plural(p) if other else p,
                v="are" if many else "is",
                j=_pick(w.ADJECTIVES, rng),
            )
        )
    return " ".join(lines)


def _moves(world: World, phrasing: Phrasing, rng: Rng) -> str:
    """Two things in two places, one to three moves, then where both are."""
    put, move, end = phrasing.tracking
    things = rng.choice(w.OBJECTS, 2, replace=False).tolist()
    places = rng.choice(w.PLACES, 5, replace=False).tolist()
    where = dict(zip(things, places, strict=False))
    lines = [_pick(put, rng).format(x=x, l=where[x]) for x in things]
    for place in places[2 : 3 + int(rng.integers(3))]:
        x = things[int(rng.integers(2))]
        where[x] = place
        lines.append(_pick(move, rng).format(x=x, l=place))
    lines += [_pick(end, rng).format(x=x, l=where[x]) for x in rng.permutation(things).tolist()]
    return " ".join(lines)
