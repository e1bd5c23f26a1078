"""Reports of runs as one self-contained page, and figures for publication from the same arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nldisco_report.figures import save_figure, tuning_figure
    from nldisco_report.report import report_html, write_report

__all__ = ["report_html", "save_figure", "tuning_figure", "write_report"]

_HOMES = {"report_html": "report", "write_report": "report", "save_figure": "figures", "tuning_figure": "figures"}


def __getattr__(name: str) -> Any:
    """Import what is asked for: matplotlib is slow to load."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"nldisco_report.{_HOMES[name]}"), name)
