"""Credentials out of what is kept or shown: messages, recorded commands, manifests.

A credential is known by its form (the user of a URL, the value of an option called token, the prefix of a
provider) or because a variable of the environment that is called so has this value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

HIDDEN = "***"
# a bare "token" too, and not bos_token or start_token, which are no secrets
_NAME = (
    r"(?:(?:[\w-]*[_-])?(?:secret|passw(?:or)?d|passphrase|credentials?|signature|api[_-]?key|access[_-]?key)"
    r"|(?:(?:[\w-]*[_-])?(?:access|auth|api|hf|hub|id|private|refresh|security|session)[_-])?token|sig)"
)
_FORMS = (
    (re.compile(r"(?<=://)(?:[^\s/?#'\"]+|[^\s/:@'\"]*:[^\s'\"]*)@"), f"{HIDDEN}@"),  # user and password
    (re.compile(rf"(?i)(?<![\w-])((?:--?)?{_NAME}=)[^\s&'\",;]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"\b(?:hf|gh[opsur]|glpat|github_pat|sk|pypi|xox[abp])[_-][\w-]{16,}"), HIDDEN),
    (re.compile(r"\bAKIA[0-9A-Z]{16}\b"), HIDDEN),
)
_SECRET_VARIABLE = re.compile(
    r"(?i)^(?:.*_)?(?:token|secret|passw(?:or)?d|api_?key|access_?key|credentials?)$"
)
_ADDRESS_VARIABLE = re.compile(r"(?i)_proxy$|_url$|_index$|endpoint$|_links$")
_FLAG = re.compile(rf"(?i)^--?{_NAME}$")
_SHORTEST = 6  # characters: a shorter value would hide words


def redact(text: str) -> str:
    """`text` with *** in place of every credential in it."""
    for secret in _known():
        text = text.replace(secret, HIDDEN)
    for form, shown in _FORMS:
        text = form.sub(shown, text)
    return text


def redact_command(argv: Iterable[str]) -> list[str]:
    """A command whose credentials are hidden, also where the flag and its value are two words."""
    shown: list[str] = []
    flag = False
    for word in argv:
        shown.append(HIDDEN if flag and not word.startswith("-") else redact(word))
        flag = _FLAG.match(word) is not None
    return shown


def _known() -> list[str]:
    """Values of the environment that are credentials, longest first."""
    found: set[str] = set()
    for name, value in os.environ.items():
        if _SECRET_VARIABLE.match(name):
            found.add(value.strip())
        elif _ADDRESS_VARIABLE.search(name):
            for address in value.split():
                found |= _passwords(address)
    return sorted((x for x in found if len(x) >= _SHORTEST), key=len, reverse=True)


def _passwords(address: str) -> set[str]:
    try:
        password = urlsplit(address).password
    except ValueError:
        return set()
    return {password, unquote(password)} if password else set()
