"""YAML of a user's hand: plain values of what is written there, or one error that names the line.

PyYAML's safe loader with less in it. Refused: a key that stands twice in one mapping (the parser would keep
the last without a word), keys that are not words, tags other than those of JSON, text that is no Unicode,
anchors that grow beyond bounds or hold themselves. As in YAML 1.2, 2020-01-01 and 1:30 are text, and a
number with leading zeros is not octal. Anchors, aliases and merge keys (<<) work; a key that is written
counts before one that is merged in.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from resurface.errors import UserError, explained, quoted, shortened

MOST_CHARACTERS = 256 * 1024
MOST_NODES = 50_000
"""Values, keys and lists, each alias counted as what it stands for."""
DEEPEST = 50
"""Lists and mappings within each other."""

_TAG = "tag:yaml.org,2002:"
_KNOWN = {_TAG + t for t in ("str", "int", "float", "bool", "null", "seq", "map", "merge")}
_KEYS = {_TAG + "str", _TAG + "merge"}
_NOT_TEXT = re.compile("[\x00\ud800-\udfff]")


def parse(text: str, where: str, remedy: str | None = None) -> Any:
    """The value of one YAML document; `where` names it in errors.

    Raises:
        UserError: not YAML, or not of this kind; see the module's head.
    """
    if len(text) > MOST_CHARACTERS:
        raise UserError(
            f"{where} has {len(text):,} characters; at most {MOST_CHARACTERS:,} are read as YAML",
            remedy=remedy,
        )
    try:
        loader = _Loader(text)
        try:
            return _unshared(loader.get_single_data())
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as e:
        fault = ":" if isinstance(e, _Refused) else " is not YAML:"
        raise UserError(f"{where}{fault} {_located(e)}", remedy=remedy) from e
    except Exception as e:  # the loader's own, of values that a tag does not fit
        raise UserError(f"{where} is not YAML: {explained(e)}", remedy=remedy) from e


def _unshared(value: Any) -> Any:
    """A copy in which nothing stands in two places: else a change of one would change the other."""
    if isinstance(value, dict):
        return {k: _unshared(v) for k, v in value.items()}
    return [_unshared(v) for v in value] if isinstance(value, list) else value


def _located(e: yaml.MarkedYAMLError) -> str:
    mark = e.problem_mark or e.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
    return place + shortened(e.problem or e.context)


class _Loader(yaml.SafeLoader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._sizes: dict[int, int] = {}  # id of a node that is composed -> nodes in it

    def compose_node(self, parent: Any, index: Any) -> Any:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        alias = self.check_event(yaml.AliasEvent)
        self._depth += 1
        if self._depth > DEEPEST:
            raise _Refused(f"more than {DEEPEST} lists and mappings within each other", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        assert node is not None
        if alias:
            if id(node) not in self._sizes:
                raise _Refused("an anchor that holds itself", mark)
            return node
        size = 1 + sum(self._sizes[id(n)] for n in _below(node))
        if size > MOST_NODES:
            raise _Refused(f"more than {MOST_NODES:,} values, aliases counted as what they stand for", mark)
        if node.tag not in _KNOWN:
            raise _Refused(f"the tag {quoted(node.tag)} is not for settings", mark)
        if isinstance(node, yaml.ScalarNode) and _NOT_TEXT.search(node.value):
            raise _Refused(f"{quoted(node.value)} is not valid Unicode", mark)
        self._sizes[id(node)] = size
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        first: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag not in _KEYS:
                name = key.value if isinstance(key, yaml.ScalarNode) else "a list or mapping"
                raise _Refused(f"every key must be a string, and {quoted(name)} is not: quote it", key)
            line = key.start_mark.line + 1
            if key.value in first:
                raise _Refused(f"{quoted(key.value)} occurs twice, first on line {first[key.value]}", key)
            first[key.value] = line
        return node


class _Refused(yaml.MarkedYAMLError):
    def __init__(self, problem: str, place: Any) -> None:
        super().__init__(problem=problem, problem_mark=getattr(place, "start_mark", place))


def _below(node: Any) -> list[Any]:
    if isinstance(node, yaml.MappingNode):
        return [n for pair in node.value for n in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _resolve_as_json_does() -> None:
    """Numbers in base 60, octal numbers and dates are what PyYAML sees in 1:30, 010 and 2020-01-01."""
    changed = {_TAG + t for t in ("int", "float", "timestamp")}
    _Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in known if tag not in changed]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    integer = r"[-+]?(?:0|[1-9][0-9_]*|0b[01_]+|0x[0-9a-fA-F_]+)$"
    real = r"""(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?
                |\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"""
    _Loader.add_implicit_resolver(_TAG + "int", re.compile(integer), list("-+0123456789"))
    _Loader.add_implicit_resolver(_TAG + "float", re.compile(real, re.X), list("-+.0123456789"))


_resolve_as_json_does()
