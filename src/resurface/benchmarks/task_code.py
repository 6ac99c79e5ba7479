"""What lm-eval's tasks may run and read: no code without the user's word, nothing of the working directory.

Some tasks run what the model wrote (HumanEval); some, whatever they score, fetch the code of a metric and
run it (`evaluate.load`). Both need consent. The loaders of data sets and of metrics take a folder or file
of the working directory for the one of that name on the hub: that is refused, whoever consents.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from resurface.errors import UserError


class NeedsConsent(UserError):
    """A task whose code the user of this run has not consented to."""


def unsafe(name: str) -> NeedsConsent:
    """The error of a task that needs consent."""
    return NeedsConsent(
        f"task {name} runs code that the model wrote or that it fetches, on this machine",
        remedy="in a sandbox, confirm with --confirm-run-unsafe-code",
    )


def runs_code(name: str, index: Mapping[str, Any]) -> bool:
    """Whether a task, or one of a group or tag, is known to run what the model writes; from lm-eval's index
    (name -> entry), so that none of its code is imported."""
    todo, seen = [name], set()
    while todo:
        if (one := todo.pop()) in seen:
            continue
        seen.add(one)
        entry = index.get(one)
        config = getattr(entry, "cfg", None) or {}
        if config.get("unsafe_code"):
            return True
        kind = getattr(getattr(entry, "kind", None), "name", "")
        if kind == "TAG":
            todo += getattr(entry, "tags", ())
        elif kind == "GROUP":
            members = config.get("task") or []
            for member in [members] if isinstance(members, str) else members:
                if isinstance(member, dict) and member.get("unsafe_code"):
                    return True
                found = member.get("task", member.get("group")) if isinstance(member, dict) else member
                todo += [found] if isinstance(found, str) else []
    return False


@contextlib.contextmanager
def guarded(name: str, *, allowed: bool) -> Iterator[None]:
    """In here a data set comes from the hub or its cache, and code is fetched only if that is `allowed`.

    Raises:
        UserError: at the end, if anything else was tried (lm-eval goes on without a metric).
    """
    import datasets

    refused: list[UserError] = []

    def elsewhere(real: Callable[..., Any]) -> Callable[..., Any]:
        def load(path: str, *args: Any, **kwargs: Any) -> Any:
            if refusal := _shadowed(name, path):
                refused.append(refusal)
                raise refusal
            return real(path, *args, **kwargs)

        return load

    def metric(real: Callable[..., Any]) -> Callable[..., Any]:
        def load(path: str, *args: Any, **kwargs: Any) -> Any:
            if not allowed:
                refused.append(unsafe(name))
                raise refused[-1]
            return elsewhere(real)(path, *args, **kwargs)

        return load

    with contextlib.ExitStack() as undo:
        _replace(undo, datasets, "load_dataset", elsewhere)
        with contextlib.suppress(ImportError):  # of no use to most tasks
            import evaluate

            _replace(undo, evaluate, "load", metric)
        try:
            yield
        finally:
            if refused:
                raise refused[0]


def _replace(undo: contextlib.ExitStack, module: Any, name: str, by: Callable[[Any], Any]) -> None:
    real = getattr(module, name)
    setattr(module, name, by(real))
    undo.callback(setattr, module, name, real)


def _shadowed(name: str, path: str) -> UserError | None:
    """The error of a hub name that is also a folder or script here, which the loader would take for it."""
    from datasets import packaged_modules

    if path in packaged_modules._PACKAGED_DATASETS_MODULES or os.path.isabs(path):
        return None
    script = os.path.join(path, os.path.basename(path) + ".py")
    if not any(os.path.exists(p) for p in (path, script)):
        return None
    return UserError(
        f"task {name}: {path} of the working directory would be read in place of the hub's {path}",
        remedy="run the command in another directory",
    )
