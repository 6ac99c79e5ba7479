"""What a loaded model has to show on a few tokens before it is trusted.

Many architectures load as a causal language model and are none here: an encoder that reads both ways, a
model whose rows disturb each other, one whose memory means something else than its caller thinks. Their
numbers would be wrong without a word. So each loaded model is asked once, with a dozen tokens:
    `require_causal`  no later token, no padding on the right, no other row changes the logits of a position
    `prove`           which way of decoding gives the logits of a full pass, with rows dropped in the middle
    `branches`        whether several continuations of a context can be read in one pass
    `isolates`        whether several documents of a row can be read as if each were alone

Shapes: B rows, n positions, V vocabulary.
"""

from __future__ import annotations

import inspect
import weakref
from typing import Any

import torch

from resurface.errors import Diverged, UserError
from resurface.models import documents
from resurface.models.branching import Row, branched_logits
from resurface.models.decoding import Way, decoder, last_logits, ways
from resurface.models.families import sampling_refused

_N = 12
_causal: weakref.WeakSet[Any] = weakref.WeakSet()
_branches: weakref.WeakKeyDictionary[Any, bool] = weakref.WeakKeyDictionary()
_ways: weakref.WeakKeyDictionary[Any, Way] = weakref.WeakKeyDictionary()

_LIMIT = {torch.float64: 1e-4, torch.float32: 2e-4}
_LIMIT_HALF = 0.15
"""Root mean square difference of the log-probabilities of a position, in units of their standard deviation
over the vocabulary, that rounding may cause. Tiny models of six families are at most 1.2e-6 apart in float32,
of five 0.02 in bfloat16; the mildest fault that was seen is 5e-4, a memory that is not read above 0.3."""


def require_numbers(logits: torch.Tensor) -> None:
    """Raises Diverged for NaN: a search for a token would quietly return the last one."""
    if torch.isnan(logits).any():
        raise Diverged(
            "the model's logits are not finite",
            remedy="its weights are broken (a diverged training?) or overflow: try dtype float32",
        )


def require_causal(model: Any, name: str) -> Any:
    """The model, if it is causal and its rows are independent; asked once, three short passes.

    name: what the user calls the model.

    Raises:
        UserError: it is not; says which.
        Diverged: its logits are not numbers.
    """
    if model in _causal:
        return model
    with torch.inference_mode(), _evaluating(model):
        one, two = ordinary_tokens(model)
        n, k = len(one), len(one) // 2
        whole, other = (_pass(model, row[None])[0] for row in (one, two[:k]))
        beginning = _pass(model, one[None, :k])[0]
        if _differ(model, beginning, whole[:k]):
            raise UserError(
                f"{name} is not a causal language model here: later tokens change what its {_family(model)} "
                "says of earlier ones",
                remedy="take a decoder-only model, or weights whose configuration says is_decoder: true",
            )
        batch = _pass(model, torch.stack([one, torch.cat([two[:k], one.new_zeros(n - k)])]))
        if _differ(model, batch[0], whole) or _differ(model, batch[1, :k], other):
            raise UserError(
                f"{name} says something else in a batch than alone: "
                f"rows of a {_family(model)} disturb each other",
                remedy="take another model: what it says of a text cannot be measured in batches",
            )
    _causal.add(model)
    return model


def prove(model: Any) -> Way:
    """The fastest way of decoding whose logits are those of full passes; asked once.

    Raises:
        UserError: there is none, or the family is known for it; the model is named by its family.
        Diverged: its logits are not numbers.
    """
    if model in _ways:
        return _ways[model]
    require_causal(model, f"this {_family(model)} model")
    why = sampling_refused(model.config)
    if why is None:
        with torch.inference_mode():
            rows = torch.stack(ordinary_tokens(model))
            full = _pass(model, rows)
            for way in ways(model):
                if _holds(model, way, rows, full):
                    _ways[model] = way
                    return way
        why = "token by token it does not give the logits of a full pass in this version of transformers"
    raise UserError(
        f"cannot generate with a {_family(model)} model: {why}",
        remedy="it can be scored and trained; to sample, take a model of another family (docs/models.md)",
    )


def branches(model: Any) -> bool:
    """Whether a pass over a context and several continuations gives the logits of a pass each; asked once."""
    if model not in _branches:
        with torch.inference_mode(), _evaluating(model):
            _branches[model] = _branches_hold(model)
    return _branches[model]


def _branches_hold(model: Any) -> bool:
    if "position_ids" not in inspect.signature(type(model).forward).parameters:
        return False
    one, two = (row.tolist() for row in ordinary_tokens(model))
    rows = [
        Row(tuple(one[:5]), (tuple(two[:4]), tuple(one[6:11]), (two[5],))),
        Row(tuple(two), (tuple(one[:3]),)),
    ]
    try:
        logits, first = branched_logits(model, rows, next(model.parameters()).device)
        for row, found in zip(rows, logits, strict=True):
            for places, ids in zip(row.places(first), row.continuations, strict=True):
                alone = torch.tensor([[*row.context, *ids[:-1]]], device=logits.device)
                if _differ(model, found[places], _pass(model, alone)[0, len(row.context) - 1 :]):
                    return False
    except Exception:  # whatever a model's own code raises at a mask that is not its own
        return False
    return True


def isolates(model: Any, way: documents.Way) -> bool:
    """Whether each of several documents in a row has the logits that it has alone; five short passes."""
    one, two = ordinary_tokens(model)
    k = len(one) // 2
    rows = [[one[:k], two], [two[:k], one[k:]]]
    with torch.inference_mode(), _evaluating(model):
        try:
            if way == "flat":
                rows = [[document for row in rows for document in row]]
            given = documents.document_inputs([[len(d) for d in row] for row in rows], way, model.dtype)
            given = {k: v.to(model.device) if torch.is_tensor(v) else v for k, v in given.items()}
            ids = torch.nn.utils.rnn.pad_sequence([torch.cat(row) for row in rows], batch_first=True)
            logits = model(input_ids=ids, **given).logits  # as in training, every argument by its name
            for found, row in zip(logits, rows, strict=True):
                parts = found[: sum(map(len, row))].split([len(d) for d in row])
                alone = [_pass(model, d[None])[0] for d in row]
                if any(_differ(model, a, b, half=way == "flat") for a, b in zip(parts, alone, strict=True)):
                    return False
        except Diverged:
            raise
        except Exception:  # whatever a model's own code raises at inputs that are not its own
            return False
    return True


def _holds(model: Any, way: Way, rows: torch.Tensor, full: torch.Tensor) -> bool:
    """Whether decoding rows [2, n], after a start of several tokens and of one, gives logits `full` [2, n,
    V]."""
    n = rows.shape[1]
    try:
        for start in (n // 2, 1):
            batch, live = decoder(model, way), torch.arange(2, device=rows.device)
            logits = batch.step(rows[:, :start])
            for at in range(start, n):
                if _differ(model, logits, full[live, at - 1]):
                    return False
                if batch.drops and at == (start + n) // 2:
                    live = live[1:]
                    batch.keep(live)
                logits = batch.step(rows[live, at : at + 1])
            if _differ(model, logits, full[live, -1]):
                return False
    except Exception:  # whatever a model's own code raises when it is driven in a way that is not its own
        return False
    return True


def _differ(model: Any, a: torch.Tensor, b: torch.Tensor, *, half: bool = False) -> bool:
    """Whether logits [..., V] of the same positions differ by more than rounding; at half precision a
    position may (an expert is chosen by a hair), so that the mean over positions counts.

    half: computed at half precision, whatever the weights are in."""
    x, y = (z.double().log_softmax(-1) for z in (a, b))
    if not torch.equal(x.isinf(), y.isinf()):
        return True
    gap = (x - y).nan_to_num(0)  # of tokens that are masked out in both
    spread = y.masked_fill(y.isinf(), 0).std(-1)
    off = gap.square().mean(-1).sqrt() / spread.clamp(min=1e-9)
    if model.dtype in _LIMIT and not half:  # not the logits' own, which some families widen
        return bool(off.max() > _LIMIT[model.dtype])
    return bool(off.mean() > _LIMIT_HALF)


def _pass(model: Any, ids: torch.Tensor) -> torch.Tensor:
    logits, _ = last_logits(model, ids, ids.shape[1], use_cache=False)
    require_numbers(logits)
    return logits


def ordinary_tokens(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Two rows [n] of tokens that stand for text: no special ones, which stand for padding or for images."""
    text = model.config.get_text_config()
    given = vars(model.config) | vars(text)
    special = {
        v for k, v in given.items() if isinstance(v, int) and k.endswith(("_token_id", "_token_index"))
    }
    size = int(text.vocab_size)
    draw = torch.randperm(size, generator=torch.Generator().manual_seed(0))[: 2 * _N + len(special)]
    ordinary = [i for i in draw.tolist() if i not in special] or [0]
    limit = getattr(text, "max_position_embeddings", None) or _N
    n = min(_N, limit) if limit > 0 else _N  # XLNet says -1 for no limit
    ids = torch.tensor([ordinary[i % len(ordinary)] for i in range(2 * n)], device=model.device)
    return ids[:n], ids[n:]


def _family(model: Any) -> str:
    return str(getattr(model.config, "model_type", "") or type(model).__name__)


class _evaluating:
    """Within it the model is in eval mode, so that no dropout makes two passes differ."""

    def __init__(self, model: Any) -> None:
        self._model, self._before = model, model.training

    def __enter__(self) -> None:
        self._model.eval()

    def __exit__(self, *error: Any) -> None:
        self._model.train(self._before)
