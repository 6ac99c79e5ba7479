"""Are rows of token ids of this model's tokenizer? If not they are noise, which looks like forgetting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resurface.errors import UserError
from resurface.models.tokenizing import encode_again

ROWS = 200  # of each stratum, evenly spread
EDGE = 4
"""Ids at either end that may change: a cut word is merged otherwise, a cut character (up to four byte
tokens) is lost."""
LENGTH = 1024  # ids of a row that are looked at
MINIMUM = 0.98
"""Measured on English prose, licences, Python code and lab text, in rows of 12 to 100 ids, with GPT-2's,
GPT-NeoX's, SmolLM2's and three lab tokenizers: the right one gives back every id (1,000 real rows of the
extraction benchmark included), another one 47% to 97% of them, and ids drawn at random 84% to 94%. Text in
scripts that two small vocabularies lack is the same bytes in both, where there is nothing to tell apart."""

_GIVE_TEXT = "use the model whose tokenizer made them, or give texts instead of token ids"

Row = tuple[str, NDArray[np.int32]]  # doc_id, ids


def check_vocabulary(rows: Sequence[Row], tokenizer: Any) -> None:
    """Raise UserError if an id is outside the tokenizer's vocabulary."""
    limit = max(tokenizer.get_vocab().values()) + 1
    for doc_id, ids in rows:
        if ids.max(initial=0) >= limit:
            raise UserError(
                f"token id {ids.max()} of {doc_id!r} is not in the model's vocabulary of {limit}",
                remedy=_GIVE_TEXT,
            )


def check_round_trip(rows: Sequence[Row], name: str, tokenizer: Any) -> None:
    """Raise UserError if `MINIMUM` of the ids do not come back when decoded and encoded again.

    name: what the rows are called. Rows too short to have ids that are not at an edge say nothing.
    """
    shares: dict[str, float] = {}
    kept = asked = 0
    for i in np.unique(np.linspace(0, len(rows) - 1, ROWS).round().astype(int)):
        doc_id, ids = rows[i]
        if len(ids) > 2 * EDGE:
            back, inner = returned(ids[:LENGTH].tolist(), tokenizer)
            kept, asked = kept + back, asked + inner
            shares[doc_id] = back / inner
    if kept < MINIMUM * asked:
        raise UserError(
            f"the token ids of {name!r} are not of this model's tokenizer: decoded and encoded again, only "
            f"{kept / asked:.0%} of them come back (of {min(shares, key=shares.__getitem__)!r} "
            f"{min(shares.values()):.0%}; the right tokenizer gives back all)",
            remedy=f"{_GIVE_TEXT}; for ids that are random on purpose: --no-check-ids",
        )


def returned(ids: list[int], tokenizer: Any) -> tuple[int, int]:
    """How many ids between the edges of one row come back, counted as multisets, and of how many."""
    text = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    back = Counter(encode_again(tokenizer, text, ids))
    inner = Counter(ids[EDGE:-EDGE])
    return (inner & back).total(), inner.total()
