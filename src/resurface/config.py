"""The base of every configuration: frozen, strict, documented where the field is.

A stage's configuration lives beside the stage; the text under each field is its only
documentation and is what `--help` prints.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A frozen set of options; unknown keys are refused, so a typo is never silently ignored."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True
    )
