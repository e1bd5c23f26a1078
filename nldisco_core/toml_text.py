"""Settings as TOML that a person can read and edit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["toml_text"]


def toml_text(content: Mapping[str, Any]) -> str:
    """What JSON can hold, as TOML; values that are null are left out, as TOML has no null.

    Tables at the top and tables of tables stand under headings, lists of tables under double ones, deeper tables in
    line.

    >>> print(toml_text({"seed": 0, "model": {"name": "pca"}, "mappers": {"spatial": {"n_shifts": 99}}}), end="")
    seed = 0
    <BLANKLINE>
    [model]
    name = "pca"
    <BLANKLINE>
    [mappers.spatial]
    n_shifts = 99
    """
    plain = {key: value for key, value in content.items() if not _is_headed(value)}
    blocks = ["\n".join(_pairs(plain))] if plain else []
    for key, value in content.items():
        if _is_headed(value):
            blocks += _headed(_key(key), value)
    return "\n\n".join(blocks) + "\n"


def _is_headed(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and bool(value) and _are_tables(value))


def _are_tables(values: Iterable[Any]) -> bool:
    return all(isinstance(value, Mapping) for value in values)


def _headed(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, list):
        yield from ("\n".join([f"[[{name}]]", *_pairs(table)]) for table in value)
    elif value and _are_tables(value.values()):
        yield from ("\n".join([f"[{name}.{_key(key)}]", *_pairs(inner)]) for key, inner in value.items())
    else:
        yield "\n".join([f"[{name}]", *_pairs(value)])


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_value(value)}" for key, value in table.items() if value is not None]


def _key(key: str) -> str:
    return key if re.fullmatch(r"[\w-]+", key, flags=re.ASCII) else json.dumps(key, ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(_pairs(value))} }}" if value else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False)
