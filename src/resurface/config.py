"""The base of every configuration: frozen, strict, documented where the field is.

A stage's configuration lives beside the stage; the text under each field is its only
documentation and is what `--help` prints.

Every number has bounds and every list a longest length: a slip of the keyboard (`samples: 10^30`) is
refused where it is written and not after a night. The bounds are far beyond what has a use.
"""

from __future__ import annotations

import math
from contextvars import ContextVar
from types import UnionType
from typing import Annotated, Any, Self, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
)
from pydantic import ValidationInfo as Info

from resurface.errors import UserError, quoted, shortened
from resurface.trust.consent import Consent

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
"""Of files and directories: with a stage's additions and a fingerprint it stays below 255 bytes."""
Names = Annotated[tuple[str, ...], Field(max_length=1000)]
"""Of models, texts, tasks and the like."""

MOST_TOKENS = 10**12
"""Tokens, bytes or documents of a corpus, a subset, or all subsets together."""
MOST_LENGTH = 10**7
"""Tokens of one document, block, window or prompt."""
MOST_BATCH = 2**16
"""Documents, blocks or windows that are worked on together."""
MOST_MODELS = 10_000
"""Models that one command trains or measures."""


class Config(BaseModel):
    """A frozen set of options; unknown keys are refused, so a typo is never silently ignored."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        validate_default=True,
        allow_inf_nan=False,
        str_max_length=4096,
    )

    _consent: Consent = PrivateAttr(default=Consent())
    """Private: in no data that a configuration is read from or written to."""

    @property
    def consent(self) -> Consent:
        """What the user of this run lets it do."""
        return self._consent

    def allow(self, consent: Consent) -> Self:
        """A copy that may do, with all its parts, what `consent` says besides what it may already."""
        parts = {name: _allowed(value, consent) for name, value in self}
        changed = {name: value for name, value in parts.items() if value is not getattr(self, name)}
        copy = self.model_copy(update=changed)
        copy._consent = self._consent | consent
        return copy

    def __init__(self, **options: Any) -> None:
        """Raises UserError for a bad option, wherever it comes from: command line, Python, YAML."""
        if _inside.get():  # part of a larger configuration, which names the whole key
            super().__init__(**options)
            return
        token = _inside.set(True)
        try:
            super().__init__(**options)
        except ValidationError as e:
            raise UserError(problems(e), remedy="`resurface VERB --help` says what it may be") from e
        finally:
            _inside.reset(token)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: Info) -> Any:
        """`epochs: yes` is no 1."""
        items = value if isinstance(value, list | tuple) else (value,)
        if any(isinstance(v, bool) for v in items):
            kinds = atoms(cls.model_fields[info.field_name or ""].annotation)
            if {int, float} & kinds and not {bool, Any} & kinds:
                raise ValueError("a number is needed, not true or false")
        return value


def _allowed(value: Any, consent: Consent) -> Any:
    if isinstance(value, Config):
        return value.allow(consent)
    if isinstance(value, tuple) and any(isinstance(x, Config) for x in value):
        return tuple(_allowed(x, consent) for x in value)
    return value


_inside: ContextVar[bool] = ContextVar("_inside", default=False)


_UNQUOTED = ("missing", "extra_forbidden", "consent")
"""Problems whose input says nothing: there is none, or it is the whole group."""


def atoms(annotation: Any) -> set[Any]:
    """The types that an annotation is made of, without its unions, tuples, mappings and `Annotated`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return atoms(get_args(annotation)[0])
    if origin in (Union, UnionType, tuple, dict):
        return set().union(*(atoms(a) for a in get_args(annotation) if a is not Ellipsis))
    return {annotation}


def _check_plain(value: Any, depth: int = 0) -> Any:
    """Raises ValueError for what YAML cannot hold: whoever takes it checks the rest."""
    if depth > 20:
        raise ValueError("lists and mappings are nested more than 20 deep")
    if isinstance(value, dict):
        if not all(isinstance(k, str) for k in value):
            raise ValueError("every key must be a string")
        for item in (*value, *value.values()):
            _check_plain(item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_plain(item, depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("numbers must be finite")
    elif isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as e:
            raise ValueError("a string is not valid Unicode") from e
    elif not (value is None or isinstance(value, bool | int | float)):
        raise ValueError(f"a {type(value).__name__} is not a YAML value")
    return value


Plain = Annotated[Any, AfterValidator(_check_plain)]
"""A value of YAML, for a key of another configuration."""
Changes = Annotated[dict[str, Plain], Field(max_length=1000)]
"""Dotted keys of another configuration, each with its value."""

_LISTED = 10


def problems(e: ValidationError) -> str:
    """Every option that is at fault, by name, with the value that was given; both cut short."""
    lines = []
    found = e.errors(include_url=False, include_context=False)
    for p in found[:_LISTED]:
        name = shortened(".".join(map(str, p["loc"])), 100)
        shown = name and p["type"] not in _UNQUOTED
        given = f" (not {quoted(p['input'])})" if shown else ""
        message = shortened(p["msg"].removeprefix("Value error, "), 400)
        lines.append(f"{name}: {message}{given}" if name else message)
    more = [f"and {len(found) - _LISTED} more"] if len(found) > _LISTED else []
    return "; ".join([*lines, *more])
