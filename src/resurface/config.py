"""The base of every configuration: frozen, strict, documented where the field is.

A stage's configuration lives beside the stage; the text under each field is its only
documentation and is what `--help` prints.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from resurface.consent import Consent
from resurface.errors import UserError

Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Config(BaseModel):
    """A frozen set of options; unknown keys are refused, so a typo is never silently ignored."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True
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


def _allowed(value: Any, consent: Consent) -> Any:
    if isinstance(value, Config):
        return value.allow(consent)
    if isinstance(value, tuple) and any(isinstance(x, Config) for x in value):
        return tuple(_allowed(x, consent) for x in value)
    return value


_inside: ContextVar[bool] = ContextVar("_inside", default=False)


_UNQUOTED = ("missing", "extra_forbidden", "consent")
"""Problems whose input says nothing: there is none, or it is the whole group."""


def problems(e: ValidationError) -> str:
    """Every option that is at fault, by name, with the value that was given."""
    lines = []
    for p in e.errors():
        name = ".".join(map(str, p["loc"]))
        given = f" (not {p['input']!r})" if name and p["type"] not in _UNQUOTED else ""
        message = p["msg"].removeprefix("Value error, ")
        lines.append(f"{name}: {message}{given}" if name else message)
    return "; ".join(lines)
