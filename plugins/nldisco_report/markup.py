"""Small pieces of HTML: everything that comes from data goes through here and is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

__all__ = ["facts", "number", "paragraphs", "section", "table"]


def number(value: Any, digits: int = 3) -> str:
    """A number for a reader: significant digits, a dash where it is not defined."""
    if value is None or pd.isna(value):
        return "–"
    if isinstance(value, (bool, str)):
        return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else value
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    return f"{float(value):.{digits}g}".replace("e-0", "e-")


def _cell(value: Any, key: str = "", tag: str = "td") -> str:
    exact = f' data-key="{html.escape(key)}"' if key else ""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not pd.isna(value):
        exact += f' data-value="{value!r}"'
    return f"<{tag}{exact}>{html.escape(number(value))}</{tag}>"


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    keys: Sequence[str] | None = None,
    strong: bool = False,
    text: bool = False,
) -> str:
    """A table that scrolls by itself where it is too wide.

    Parameters
    ----------
    keys : name of each column in the run's own tables, kept in ``data-key`` with the exact number in ``data-value``
    strong : whether the first row is the one that matters
    text : whether the cells hold sentences rather than numbers
    """
    names = keys or [""] * len(columns)
    head = "".join(f"<th scope='col'>{html.escape(name)}</th>" for name in columns)
    body = "".join(
        f"<tr{' class=own' if strong and not place else ''}>"
        + "".join(_cell(value, key) for value, key in zip(row, names, strict=True))
        + "</tr>"
        for place, row in enumerate(rows)
    )
    kind = " class=text" if text else ""
    return f"<div class='scroll'><table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def facts(pairs: Iterable[tuple[str, Any, str]], *, rows: bool = False) -> str:
    """A list of what is known: label, value, and the column that it comes from; what is not defined is left out.

    Parameters
    ----------
    rows : one below the other rather than side by side
    """
    kept = ((label, value, key) for label, value, key in pairs if value is not None and not pd.isna(value))
    inner = "".join(f"<div><dt>{html.escape(label)}</dt>{_cell(value, key, 'dd')}</div>" for label, value, key in kept)
    return f"<dl{' class=rows' if rows else ''}>{inner}</dl>"


def paragraphs(sentences: Iterable[str]) -> str:
    """Each sentence as an item of a list; nothing for none."""
    items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
    return f"<ul>{items}</ul>" if items else ""


def section(name: str, title: str, *parts: str) -> str:
    """A section with its heading; nothing where it would be empty."""
    content = "".join(parts)
    return f'<section id="{name}"><h2>{html.escape(title)}</h2>{content}</section>' if content else ""
