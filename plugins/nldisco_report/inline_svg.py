"""Figures as part of a page: SVG without a prologue, in the colours of the page, its names unlike those of others."""

from __future__ import annotations

import html
import io
import re

from matplotlib.figure import Figure

from nldisco_report.style import INK, MUTED, styled

__all__ = ["inline_svg"]


def inline_svg(figure: Figure, *, name: str, label: str) -> str:
    """A figure as an SVG element that asks for nothing outside of itself.

    Parameters
    ----------
    name : put before every id, so that no two figures of a page share one
    label : what a screen reader says
    """
    stream = io.StringIO()
    with styled():
        no_metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(stream, format="svg", facecolor="none", metadata=no_metadata)
    text = stream.getvalue()
    text = text[text.index("<svg") :].strip()
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    for colour, of_page in ((INK, "var(--ink)"), (MUTED, "var(--muted)")):
        text = re.sub(re.escape(colour), of_page, text, flags=re.IGNORECASE)
    text = re.sub(r"<style type=\"text/css\">.*?</style>", "", text, flags=re.DOTALL)
    text = text.replace("'DejaVu Sans'", "var(--font)").replace("DejaVu Sans", "var(--font)")
    return text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(label)}" ', 1)
