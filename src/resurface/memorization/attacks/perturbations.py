"""A window whose prefix is changed a little: one token replaced, one letter's case, one space more.

A memory of the text survives that, a reflex to the exact ids before it may not (cf. Huang et al. 2024,
arXiv 2407.17817). Each edit is the smallest of its kind, so that the text still is the one that was seen and
the kinds can be compared: upper case throughout would be another distribution, and its loss no news.

Every function takes the ids of a whole window and the length of its prefix, and returns the ids with
another prefix, which may be longer or shorter, and the same suffix; or a str: why it is not possible.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np

from resurface.models.tokenizing import control_ids, encode_again
from resurface.stats.reasons import Reason


def replaced(
    ids: Sequence[int],
    prefix: int,
    rng: np.random.Generator,
    vocabulary_size: int,
    special_ids: Collection[int],
) -> list[int] | str:
    """One token of the prefix, drawn uniformly, replaced by another, drawn uniformly from the vocabulary.

    Special tokens are neither replaced nor drawn.
    """
    places = [i for i in range(prefix) if ids[i] not in special_ids]
    if not places:
        return Reason.NO_TOKEN_TO_REPLACE
    place = int(rng.choice(places))
    barred = sorted({ids[place], *(i for i in special_ids if i < vocabulary_size)})
    if len(barred) >= vocabulary_size:
        return Reason.NO_TOKEN_TO_REPLACE
    drawn = int(rng.integers(vocabulary_size - len(barred)))
    for i in barred:  # the drawn-th id of those that are not barred
        drawn += drawn >= i
    return [*ids[:place], drawn, *ids[place + 1 :]]


def recased(ids: Sequence[int], prefix: int, tokenizer: Any, rng: np.random.Generator) -> list[int] | str:
    """One letter of the prefix's text, drawn uniformly, in the other case; encoded again."""

    def edits(text: str) -> Iterator[str]:
        for i in rng.permutation(np.flatnonzero([_has_case(c) for c in text])).tolist():
            yield text[:i] + text[i].swapcase() + text[i + 1 :]

    return _encoded_again(ids, prefix, tokenizer, edits, Reason.NO_LETTER_TO_SWAP)


def respaced(ids: Sequence[int], prefix: int, tokenizer: Any, rng: np.random.Generator) -> list[int] | str:
    """One space of the prefix's text, drawn uniformly, doubled; in a text without one, one put anywhere
    inside. Encoded again."""

    def edits(text: str) -> Iterator[str]:
        places = [i for i, c in enumerate(text) if c == " "] or list(range(1, len(text)))
        for i in rng.permutation(np.asarray(places, int)).tolist():
            yield text[:i] + " " + text[i:]

    return _encoded_again(ids, prefix, tokenizer, edits, Reason.NO_PLACE_FOR_A_SPACE)


def _has_case(letter: str) -> bool:
    """Whether swapping its case gives another letter, and swapping back this one (not so: ß, SS, ss)."""
    other = letter.swapcase()
    return other != letter and other.swapcase() == letter


def _encoded_again(
    ids: Sequence[int], prefix: int, tokenizer: Any, edits: Callable[[str], Iterator[str]], none: str
) -> list[int] | str:
    """The window with the first edit of its prefix that has other ids and the same special tokens."""

    own = list(ids[:prefix])
    special_ids = control_ids(tokenizer)

    def special(x: list[int]) -> list[int]:
        return [i for i in x if i in special_ids]

    def encode(text: str) -> list[int]:
        return encode_again(tokenizer, text, own)

    text = tokenizer.decode(own, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    if encode(text) != own:  # a cut character, or a tokenizer that marks the start of a text
        return Reason.OTHER_IDS
    for edited in edits(text):
        new = encode(edited)
        # an uncased tokenizer sees no change, and an edit within "<|endoftext|>" would take it apart
        if new != own and special(new) == special(own):
            return new + list(ids[prefix:])
    return none
