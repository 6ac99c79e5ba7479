"""Passages of a document taken out of the token ids that it was decoded from.

A token is taken out whole: of one that is partly in a passage, the rest goes too. The text of what is left is
what its ids decode to, so that ids and text say the same, whichever of them is trained on.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from resurface.artifacts import Artifact
from resurface.errors import UserError
from resurface.models.loading import load_tokenizer
from resurface.models.ref import ModelConfig
from resurface.models.resolving import resolve
from resurface.models.tokenizing import decode_documents, decode_text, vocabulary_of
from resurface.trust.consent import Consent


class Passage(Protocol):
    """Characters first:last of a text."""

    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...


P = TypeVar("P", bound=Passage)
_REMEDY = "make the corpus again, or reject documents: --action reject"
_NEAR = 64  # tokens: more than one stretch of bytes has
_PER_TOKEN = ("logprobs", "logprobs_tau")
_OF_TEXT = ("without_token", "control_inside", "text_tokens")


class Cutter:
    """Cuts documents of one tokenizer. stop_ids: what a document that ended by itself may end with."""

    def __init__(self, tokenizer: Any, stop_ids: Iterable[int]) -> None:
        self._tokenizer, self._known = tokenizer, set(tokenizer.get_vocab().values())
        self._stop_ids = frozenset(stop_ids)

    @classmethod
    def of(cls, corpus: Artifact, consent: Consent) -> Cutter:
        """For the documents of a sampled or collected corpus.

        Raises:
            UserError: it does not say whose tokens it has, or their tokenizer is gone or another.
        """
        role = next((r for r in ("model", "student") if r in corpus.inputs), None)
        if role is None or "start_tokens" not in corpus.config:
            raise UserError(f"{corpus.path} does not say whose tokens it has", remedy=_REMEDY)
        ref = resolve(ModelConfig(id=str(corpus.inputs[role].place)).allow(consent))
        tokenizer, start = load_tokenizer(ref), corpus.config["start_tokens"]
        if start.get("vocabulary") not in (None, vocabulary_of(tokenizer)):
            raise UserError(
                f"the token ids of {corpus.path} are of another vocabulary than that of {ref.spec}",
                remedy=_REMEDY,
            )
        return cls(tokenizer, start.get("stop_ids", ()))

    def cut(
        self, document: Mapping[str, Any], find: Callable[[str], Sequence[P]]
    ) -> tuple[dict[str, Any], list[tuple[int, P, str]]]:
        """A document without the passages that `find` finds in it, and then in what is left, until there are
        none; and all that were taken out, each with its round (0, 1, ...) and its text.

        document: a row of a corpus. Log-probabilities of tokens that stay stay as they are.

        Raises:
            UserError: its text is not what its ids decode to, or it has not one log-probability per token.
        """
        ids, text = np.asarray(document["token_ids"], np.int64), document["text"]
        per_token = {name: document[name] for name in _PER_TOKEN if document[name] is not None}
        if self._read(ids) != text or any(len(values) != len(ids) for values in per_token.values()):
            raise UserError(
                f"document {document['sample_id']} is not what its tokens decode to, or has not one "
                "log-probability per token: it cannot be cut",
                remedy=_REMEDY,
            )
        left, taken, number = np.arange(len(ids)), [], 0
        while passages := find(text):
            taken += [(number, p, text[p.first : p.last]) for p in passages]
            left = left[self._outside(ids[left], text, passages)]
            text, number = self._read(ids[left]), number + 1
        last = ids[left[-1:]].tolist()
        ended = document["finish_reason"] == "stop" and not self._stop_ids.isdisjoint(last)
        found = decode_documents(self._tokenizer, [ids[left].tolist()], [ended])
        changed: dict[str, Any] = {"token_ids": ids[left].tolist(), "text": text}
        changed |= {name: [values[i] for i in left.tolist()] for name, values in per_token.items()}
        changed |= {name: getattr(found, name)[0] for name in _OF_TEXT if name in document}
        return {**document, **changed}, taken

    def _read(self, ids: NDArray[np.int64]) -> str:
        """Their text, as `decode_documents` has it."""
        return decode_text(self._tokenizer, [i for i in ids.tolist() if i in self._known])

    def _outside(self, ids: NDArray[np.int64], text: str, passages: Sequence[P]) -> NDArray[np.bool_]:
        """Which tokens have no character in a passage: bool [tokens]. Tokens without text stay, unless they
        are inside of one."""
        outside = np.ones(len(ids), np.bool_)
        for p in passages:
            outside[self._tokens_before(ids, text, p.first) : self._tokens_until(ids, text, p.last)] = False
        return outside

    # Half a character decodes to replacement characters, in some tokenizers with all that is spelt in bytes
    # before it, so that text need not grow with every token: around where a binary search ends we look for a
    # token at which the text so far is the beginning of the text.

    def _tokens_before(self, ids: NDArray[np.int64], text: str, first: int) -> int:
        """How many tokens end at or before character `first`."""

        def size(n: int) -> int:
            return len(self._read(ids[:n]))

        near = min(bisect_right(range(1, len(ids) + 1), first, key=size) + _NEAR, len(ids))
        return next(n for n in range(near, -1, -1) if size(n) <= first and self._begins(ids[:n], text))

    def _tokens_until(self, ids: NDArray[np.int64], text: str, last: int) -> int:
        """How many tokens it takes for `last` characters."""

        def size(n: int) -> int:
            return len(self._read(ids[:n]))

        near = max(bisect_left(range(len(ids)), last, key=size) - _NEAR, 0)
        return next(n for n in range(near, len(ids) + 1) if size(n) >= last and self._begins(ids[:n], text))

    def _begins(self, ids: NDArray[np.int64], text: str) -> bool:
        return text.startswith(self._read(ids))
