"""Planted passages: random pseudo-words that can be known by heart and by nothing else.

A passage is about 12 words of random syllables, some 40 tokens, one document each time it is
planted. Copy counts are exact. `near` passages have one word changed in every copy; `never`
passages are of the same kind and in no corpus: the non-members.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from resurface.errors import UserError
from resurface.lab import settings
from resurface.lab.phrasing import PHRASINGS

MOST_PLANTED = 0.1
"""Largest share of a corpus' documents that may be planted: memorized text is rare in reality."""
_ONSETS = "b d f g h j k l m n p r s t v w z br dr gr kl pl st tr".split()
_NUCLEI = "a e i o u ai oo".split()
_CODAS = ["", "", "", "n", "r", "s", "l", "m", "x"]
_WORDS = 12


@dataclass(frozen=True)
class Stratum:
    """passages: how many; copies: how often each is planted; near: a word differs in every copy."""

    passages: int
    copies: int
    near: bool = False


STRATA: Mapping[str, Stratum] = {
    "4 copies": Stratum(60, 4),
    "8 copies": Stratum(100, 8),
    "16 copies": Stratum(240, 16),
    "32 copies": Stratum(120, 32),
    "16 near-copies": Stratum(60, 16, near=True),
    "never": Stratum(200, 0),
}


@dataclass(frozen=True)
class Passage:
    """copies: the text of each planted copy. split: "dev" (to choose recipes on) or "report"."""

    passage_id: str
    text: str
    stratum: str
    split: str
    copies: tuple[str, ...]


def strata_at(scale: float) -> Mapping[str, Stratum]:
    """`scale` times the passages, each copied as often: as rare among `scale` times the documents."""
    return {name: replace(s, passages=round(s.passages * scale)) for name, s in STRATA.items()}


def make_passages(
    seed: int, family: str, strata: Mapping[str, Stratum] = STRATA, *, draw: int = 0
) -> list[Passage]:
    """The passages of one family, the same for each of its models; a quarter of each stratum is dev.

    draw: 1 and above are other passages of the same kind, as many and as often copied: for a model that read
    the genre and never what is asked.
    """
    found: list[Passage] = []
    rng = np.random.default_rng([seed, 2, *family.encode(), *([draw] if draw else [])])
    for name, stratum in strata.items():
        for i in range(stratum.passages):
            words = [_word(rng) for _ in range(_WORDS)]
            copies = [" ".join(words)] * stratum.copies
            if stratum.near:
                copies = [" ".join(_changed(words, rng)) for _ in range(stratum.copies)]
            split = "dev" if i % 4 == 0 else "report"
            passage_id = f"{family}/{name}/{i:03d}" + (f"#{draw}" if draw else "")
            found.append(Passage(passage_id, " ".join(words), name, split, tuple(copies)))
    return found


def of(spec: str) -> list[Passage]:
    """Passages by `lab:FAMILY` (report split) or `lab:FAMILY/dev`: those of the shipped models, or, with
    `@scale=10` and the like behind it (see `settings`), those of models built elsewise.

    Raises:
        UserError: no such family or split, or no such world.
    """
    bare, setting = settings.split(spec)
    family, _, split = bare.removeprefix("lab:").partition("/")
    split = split or "report"
    if family not in PHRASINGS or split not in ("dev", "report"):
        known = ", ".join(f"lab:{f}, lab:{f}/dev, lab:{f}/fresh, lab:{f}/test" for f in PHRASINGS)
        raise UserError(f"no texts {spec!r} of the lab", remedy=f"there are: {known}")
    made = make_passages(setting.seed, family, strata_at(setting.scale))
    return [p for p in made if p.split == split]


def check_room(documents: int, strata: Mapping[str, Stratum] = STRATA) -> None:
    """Raise UserError if a corpus of `documents` documents is too small for these passages."""
    planted = sum(s.passages * s.copies for s in strata.values())
    if planted > MOST_PLANTED * documents:
        raise UserError(
            f"{planted:,} planted copies in a corpus of {documents:,} documents: at most "
            f"{MOST_PLANTED:.0%} may be planted, or samples are full of them",
            remedy=f"a corpus of at least {round(planted / MOST_PLANTED):,} documents, or at most "
            f"{int(MOST_PLANTED * documents):,} copies in all",
        )


def _word(rng: np.random.Generator) -> str:
    def pick(options: list[str]) -> str:
        return options[int(rng.integers(len(options)))]

    return "".join(pick(_ONSETS) + pick(_NUCLEI) for _ in range(2)) + pick(_CODAS)


def _changed(words: list[str], rng: np.random.Generator) -> list[str]:
    place = int(rng.integers(len(words)))
    return [*words[:place], _word(rng), *words[place + 1 :]]
