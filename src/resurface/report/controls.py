from typing import Any


def cells(c: Any) -> Any:
    return [], []


def margin_tables(c: Any) -> Any:
    return []


def lines(c: Any) -> Any:
    return []


def figure(c: Any, f: Any) -> None:
    return None
