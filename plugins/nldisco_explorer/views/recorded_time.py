"""Tiles of the Overview page that draw the time that was recorded, and list gaps and what was odd."""

from __future__ import annotations

import html
from collections.abc import Iterator
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.binned import SPLITS, Binned, BinnedSession
from nldisco_core.colours import ACTIVATION, BEHAVIOUR, NEUTRAL, PALETTE
from nldisco_core.runs import Run
from nldisco_explorer.drawing.legend import series_legend
from nldisco_explorer.drawing.payload import Axis, Drawing, Layer, Panel
from nldisco_explorer.drawing.tile import CanvasTile
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.views.overview import WrittenTile
from nldisco_explorer.views.recording import StillTile
from nldisco_explorer.wording import number, share

__all__ = ["RecordedTime", "RecordingWarnings"]

COLUMNS = 1000
"""Columns that a session's time is drawn in."""

_COLOURS = {0: ACTIVATION, 1: PALETTE[2], 2: BEHAVIOUR, -1: NEUTRAL}  # by the code of a split

Floats = NDArray[np.float64]


class RecordedTime:
    """View: how long each session is, where its bins lie, and which split they are of."""

    title: ClassVar[str] = "Recorded time, gaps and splits"
    page: ClassVar[str] = "overview"
    needs: ClassVar[frozenset[str]] = frozenset()
    wide: ClassVar[bool] = True

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _TimeTile(readings(run))


class _TimeTile(StillTile):
    def __init__(self, reads: Readings) -> None:
        super().__init__()
        data = reads.run.counts
        length_s = max(float(s.start_ns[-1] - s.start_ns[0]) * 1e-9 + data.bin_s for s in data.sessions)
        n_sessions = len(data.sessions)
        spans = pd.DataFrame(
            [(row, *span) for row, session in enumerate(data.sessions) for span in _spans(session, data.bin_ns)],
            columns=["row", "left", "right", "split", "low", "high"],
        )
        kinds = [
            (code, name) for code, name in (*enumerate(SPLITS), (-1, "no split")) if (spans["split"] == code).any()
        ]
        panel = Panel(
            x=Axis(low=0.0, high=length_s, label="time from the first bin (s)"),
            y=Axis(low=n_sessions, high=0.0, label="session", ticks=_numbered(n_sessions)),
            layers=tuple(_stretches(spans[spans["split"] == code], name, _COLOURS[code]) for code, name in kinds),
            row=1,
            margins=(6, 14, 42, 58),
        )
        legend = series_legend([name for _, name in kinds], [_COLOURS[code] for code, _ in kinds])
        said = " ".join(_time_in_words(session, data.bin_ns) for session in data.sessions[:4])
        self.draw(Drawing(panels=(legend, panel), rows=(None, 56 + 26 * n_sessions), summary=said))


def _numbered(n_sessions: int) -> tuple[tuple[float, str], ...]:
    """A tick in the middle of each session's row."""
    return tuple((row + 0.5, str(row + 1)) for row in range(n_sessions))


def _stretches(own: pd.DataFrame, name: str, colour: str) -> Layer:
    """Stretches of one split, each in its session's row."""
    top, bottom = (own["row"] + 0.15 + 0.7 * own[end] for end in ("low", "high"))
    bars = {"left": own["left"], "right": own["right"], "top": top, "bottom": bottom}
    tips = [
        f"{name}, {number(low, 4)} to {number(high, 4)} s" for low, high in zip(own["left"], own["right"], strict=True)
    ]
    return Layer("bars", bars, colour=colour, name=name, tips=tips)


def _spans(session: BinnedSession, bin_ns: int) -> Iterator[tuple[float, float, int, float, float]]:
    """Start, stop (s from the first bin) and split of stretches, and from where to where they fill the row's height.

    A column of time that holds bins of several splits is divided by their shares.
    """
    start_ns = session.start_ns - session.start_ns[0]
    length_ns = int(start_ns[-1]) + bin_ns
    held = np.zeros((COLUMNS, len(SPLITS) + 1))
    np.add.at(held, (start_ns * COLUMNS // length_ns, session.split), 1)  # no split, -1, is the last one
    wide = np.flatnonzero(~held.any(axis=1))  # a column narrower than a bin belongs to the bin that it lies in
    row = np.searchsorted(start_ns, wide * length_ns // COLUMNS, side="right") - 1
    inside = start_ns[row] + bin_ns > wide * length_ns // COLUMNS
    held[wide[inside], session.split[row[inside]]] = 1
    high = np.cumsum(held, axis=1) / np.maximum(held.sum(axis=1), 1)[:, None]
    low = np.concatenate([np.zeros((COLUMNS, 1)), high[:, :-1]], axis=1)
    at_s = length_ns / COLUMNS * 1e-9
    for code in range(-1, len(SPLITS)):
        of_split = np.stack([low[:, code], high[:, code]], axis=1)
        edges = np.concatenate([[0], np.flatnonzero(np.diff(of_split, axis=0).any(axis=1)) + 1, [COLUMNS]])
        for first, stop in pairwise(edges.tolist()):
            if held[first, code]:
                yield first * at_s, stop * at_s, code, *of_split[first]


def _pauses_s(session: BinnedSession, bin_ns: int) -> Floats:
    """Time without bins between bins that follow each other (s)."""
    between = np.diff(session.start_ns) - bin_ns
    return np.asarray(between[between > 0] * 1e-9, dtype=np.float64)


def _time_in_words(session: BinnedSession, bin_ns: int) -> str:
    pauses = _pauses_s(session, bin_ns)
    gaps = f"{len(pauses)} gaps, the longest {number(float(pauses.max()))} s" if len(pauses) else "no gap"
    return f"{session.session_id}: {number(session.n_bins * bin_ns * 1e-9 / 60)} min in bins, {gaps}."


class RecordingWarnings:
    """View: gaps between bins, entries that were not observed, and what loading and binning found odd."""

    title: ClassVar[str] = "Gaps and warnings"
    page: ClassVar[str] = "overview"
    needs: ClassVar[frozenset[str]] = frozenset()
    wide: ClassVar[bool] = True

    def build(self, run: Run) -> WrittenTile:
        """A new tile."""
        items = [*_gap_sentences(run.counts), *map(str, run.about.get("warnings", []))]
        if not items:
            return WrittenTile("<p>No gap, every unit observed throughout, and nothing odd was found.</p>")
        return WrittenTile(f"<ul>{''.join(f'<li>{html.escape(item)}</li>' for item in items)}</ul>")


def _gap_sentences(data: Binned) -> Iterator[str]:
    for session in data.sessions:
        pauses = _pauses_s(session, data.bin_ns)
        if len(pauses):
            total = f"{number(float(pauses.sum()))} s in all, the longest {number(float(pauses.max()))} s"
            yield f"{session.session_id}: {len(pauses)} gaps between bins, {total}."
        if session.observed is not None:
            n_units = int((~session.observed.all(axis=0)).sum())
            missing = share(1 - float(session.observed.mean()))
            yield f"{session.session_id}: {n_units} units not observed throughout; {missing} of entries are masked."
