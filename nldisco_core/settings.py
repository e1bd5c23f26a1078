"""What a provider can be told: the key, type, default and meaning of every setting of its configuration."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

__all__ = ["Setting", "settings_of"]

_ENTRY = re.compile(r"^(\w[\w, ]*) : (.*)$")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting.

    Attributes
    ----------
    key : how it is named in a configuration
    kind : its type
    default : as it would be printed, ``required`` where there is none
    meaning : from the section ``Attributes`` of the docstrings of the configuration and its bases; may be empty
    """

    key: str
    kind: str
    default: str
    meaning: str


def settings_of(config_class: type[BaseModel]) -> list[Setting]:
    """All settings of a configuration, those of its bases first.

    >>> from nldisco_core.config import PruneConfig
    >>> [(setting.key, setting.kind, setting.default) for setting in settings_of(PruneConfig)]
    [('min_r2', 'float | None', 'None')]
    """
    meanings: dict[str, str] = {}
    for base in reversed(config_class.__mro__):
        meanings |= dict(_documented(base.__dict__.get("__doc__") or ""))
    return [
        Setting(
            key=name,
            kind=_kind(field.annotation),
            default="required" if field.is_required() else repr(field.get_default(call_default_factory=True)),
            meaning=meanings.get(name, ""),
        )
        for name, field in config_class.model_fields.items()
    ]


def _documented(docstring: str) -> Iterator[tuple[str, str]]:
    """Names and meanings of a numpydoc section ``Attributes``, whose entries may go on in indented lines."""
    _, found, section = inspect.cleandoc(docstring).partition("Attributes\n----------\n")
    names: list[str] = []
    text: list[str] = []
    for line in (*section.splitlines(), "end : "):
        entry = _ENTRY.match(line)
        if entry is None and line.startswith(" "):
            text.append(line.strip())
            continue
        yield from ((name, " ".join(text)) for name in names)
        names, text = [], []
        if not found or entry is None:
            return
        names, text = entry[1].split(", "), [entry[2]]


def _kind(annotation: Any) -> str:
    """A type as a reader writes it: ``float | None``, ``'auto' | 'cpu'``."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0])
    if origin is Literal:
        return " | ".join(map(repr, arguments))
    if origin in (Union, UnionType):
        return " | ".join(map(_kind, arguments))
    if annotation in (None, NoneType, Ellipsis):
        return "..." if annotation is Ellipsis else "None"
    name = str(getattr(origin or annotation, "__name__", annotation))
    return f"{name}[{', '.join(map(_kind, arguments))}]" if arguments else name
