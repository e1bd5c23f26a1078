"""How numbers, shares and lists are written for a reader."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["listed", "number", "share"]


def number(value: float, digits: int = 3) -> str:
    """A number for a reader: significant digits, a dash where it is not defined."""
    return "–" if value != value else f"{value:.{digits}g}"


def share(value: float) -> str:
    """A share as a percentage."""
    return "–" if value != value else f"{100 * value:.3g} %"


def listed(names: Iterable[str], most: int = 5) -> str:
    """Names in a sentence, the first few of them."""
    items = list(names)
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")
