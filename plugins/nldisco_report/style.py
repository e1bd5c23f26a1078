"""Ground and settings of all figures, the same on paper and on a page in two themes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any, cast

import matplotlib as mpl

__all__ = ["INK", "MUTED", "SETTINGS", "styled"]

# replaced by the page's own colours where a figure is part of a page
INK = "#16202a"
MUTED = "#7d8792"

SETTINGS: Mapping[str, Any] = MappingProxyType(
    {
        "figure.dpi": 100,
        "savefig.dpi": 300,
        "font.family": ["DejaVu Sans"],
        "font.size": 8.5,
        "axes.titlesize": 8.5,
        "axes.labelsize": 8.5,
        "axes.facecolor": "none",
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "axes.linewidth": 0.7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.color": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "xtick.major.width": 0.7,
        "ytick.major.width": 0.7,
        "lines.linewidth": 1.6,
        "grid.color": MUTED,
        "grid.alpha": 0.25,
        "grid.linewidth": 0.6,
        "svg.fonttype": "none",
        "svg.hashsalt": "nldisco",
        "pdf.fonttype": 42,
        "ps.fonttype": 42,
        "path.simplify": False,
    }
)


def styled() -> AbstractContextManager[None]:
    """Draw or save with `SETTINGS`; what was set before is set again afterwards."""
    return mpl.rc_context(cast(Any, dict(SETTINGS)))
