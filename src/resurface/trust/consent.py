"""Consent to run code that is not resurface's own: given by the user of this very run, never by a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticCustomError

FLAGS = {
    "trust_remote_code": "--trust-remote-code",
    "confirm_run_unsafe_code": "--confirm-run-unsafe-code",
}
"""Options of a call and of the command line; no key of a recipe, study, sweep or manifest."""


@dataclass(frozen=True)
class Consent:
    """What a user has agreed to. It travels with the configuration objects of one run (`Config.allow`),
    is in no file that they are written to, and is read from none."""

    remote_code: bool = False
    """Run Python code that a model's repository ships."""
    generated_code: bool = False
    """Run code that a model wrote, as some tasks do, and what these tasks fetch to do so."""

    def __or__(self, other: Consent) -> Consent:
        return Consent(self.remote_code or other.remote_code, self.generated_code or other.generated_code)


def not_from_data(data: Any, name: str) -> Any:
    """Options without the consent `name`, which older files hold as false.

    Raises:
        PydanticCustomError: it is anything else.
    """
    if not isinstance(data, dict) or name not in data:
        return data
    if data[name] is not False:
        raise PydanticCustomError(
            "consent",
            "{name} is not an option that a file can set: leave it out, and pass {flag} on the command line "
            "(from Python: {name}=True to the function that does the work)",
            {"name": name, "flag": FLAGS[name]},
        )
    return {k: v for k, v in data.items() if k != name}
