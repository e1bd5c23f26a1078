"""The tile of a whole session: activation, behaviour and population on one time axis, and jumps along it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import panel_material_ui as pmui
from numpy.typing import NDArray

from nldisco_core.runs import Run
from nldisco_core.selection import Selection
from nldisco_explorer.categories import few_coloured
from nldisco_explorer.drawing.payload import Drawing, Panel
from nldisco_explorer.drawing.tile import CanvasTile
from nldisco_explorer.evidence import latent_name
from nldisco_explorer.perievent import spoken
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.timeline import ROW_COLOURS, TIME, SessionTime, session_times
from nldisco_explorer.wording import number, share

__all__ = ["SessionTimeline", "bouts"]

WINDOW_S = 60.0
LEAST_BINS = 20
APART_S = 0.25
MOST_PINNED, MOST_VARIABLES = 4, 3
STRIP, ACTIVATION_ROW, PINNED_ROW, VARIABLE_ROW, LABEL_ROW, POPULATION_ROW = 62, 120, 76, 92, 38, 270


def bouts(rows: NDArray[np.int64], start_s: NDArray[np.float64], apart_s: float = APART_S) -> NDArray[np.float64]:
    """(n_bouts,) when activations begin (s): active bins more than `apart_s` after the one before.

    Parameters
    ----------
    rows : (n_active,) active bins, ascending
    start_s : (n_bins,) start of each bin (s)
    """
    times = start_s[rows]
    return np.asarray(times[np.diff(times, prepend=-np.inf) > apart_s])


class SessionTimeline:
    """View: one session in time."""

    title: ClassVar[str] = "Session"
    page: ClassVar[str] = "session"
    needs: ClassVar[frozenset[str]] = frozenset()
    wide: ClassVar[bool] = True
    own_heading: ClassVar[bool] = True

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _SessionTile(readings(run))


class _SessionTile(CanvasTile):
    follows_window = True
    tile = "session-timeline"

    def __init__(self, reads: Readings) -> None:
        self._reads = reads
        self._selection: Selection | None = None
        sessions = reads.run.counts.sessions
        self._window = (0.0, WINDOW_S)
        self._index, self._ids = 0, [each.session_id for each in sessions]
        self._session = pmui.Select(
            label="session",
            options={name: i for i, name in enumerate(self._ids)},
            size="small",
            width=190,
            margin=0,
        )
        self._session.visible = len(sessions) > 1
        self._session.param.watch(lambda event: self._turn_to(event.new), "value")
        names = list(reads.variables())
        self._variables = pmui.MultiChoice(
            label="behaviour", options=names, value=[], width=360, margin=0, max_items=MOST_VARIABLES + 2
        )
        self._variables.param.watch(lambda event: self.set(self._selection, "behaviour", ",".join(event.new)), "value")
        self._usual: list[str] = []
        buttons = [
            _button(text, label)
            for text, label in (("‹ previous", "previous activation"), ("next ›", "next activation"))
        ]
        for button, step in zip(buttons, (-1, 1), strict=True):
            button.on_click(lambda _, step=step: self.jump(step))
        closer, wider, whole = (
            _button("+", "show less time"),
            _button("−", "show more time"),
            _button("all", "whole session"),
        )
        closer.on_click(lambda _: self._zoom(0.5))
        wider.on_click(lambda _: self._zoom(2.0))
        whole.on_click(lambda _: self._move(-np.inf, np.inf))
        super().__init__(self._session, *buttons, closer, wider, whole, self._variables)

    def show(self, selection: Selection) -> None:
        """Draw the selected latent in the selected window, else where it is active most."""
        before, self._selection = self._selection, selection
        if before is None:
            self._usual = self._usual_variables(selection)
        if selection.session in self._ids:
            self._index = self._ids.index(selection.session)
        if selection.window_s is None:
            only = None if selection.session is None else self._index
            self._index, start_s = self._busiest(selection, only)
            self._window = self._clipped(start_s, start_s + WINDOW_S)
        else:
            self._window = self._clipped(*selection.window_s)
        with self.filling():
            self._session.value = self._index
            chosen = self.settings(selection, "behaviour", self._reads.variables())
            self._variables.value = self._usual if chosen is None else chosen
        self._redraw()

    def jump(self, step: int) -> None:
        """Centre the window on the next (1) or the previous (-1) beginning of an activation."""
        if self._selection is None:
            return
        trace, begins = self._time.start_s, self._bouts()
        middle = sum(self._window) / 2
        beyond = (
            begins[begins > middle + 1e-6] if step > 0 else begins[begins < middle - self._reads.run.counts.bin_s / 2]
        )
        if len(beyond) and len(trace):
            half = (self._window[1] - self._window[0]) / 2
            at = float(beyond[0] if step > 0 else beyond[-1])
            self._move(at - half, at + half)

    def done(self, what: Mapping[str, Any]) -> None:
        """The time axis was moved."""
        if what.get("kind") == "range" and what.get("link") == TIME:
            self._move(float(what["low"]), float(what["high"]))

    @property
    def _time(self) -> SessionTime:
        return session_times(self._reads, self._index)

    def _clipped(self, low: float, high: float) -> tuple[float, float]:
        """A window inside the session, at its edge where it would reach beyond."""
        time = self._time
        width = min(max(high - low, LEAST_BINS * time.bin_s), time.high_s - time.low_s)
        start = float(np.clip(low if np.isfinite(low) else time.low_s, time.low_s, time.high_s - width))
        return start, start + width

    def _move(self, low: float, high: float) -> None:
        window = self._clipped(low, high)
        if self._explorer is not None:
            session = self._ids[self._index] if len(self._ids) > 1 else None
            self.select(session=session, window_s=(round(window[0], 4), round(window[1], 4)))
        else:
            self._window = window
            self._redraw()

    def _zoom(self, factor: float) -> None:
        middle, half = sum(self._window) / 2, (self._window[1] - self._window[0]) / 2 * factor
        self._move(middle - half, middle + half)

    def _turn_to(self, index: int) -> None:
        if not self._filling and index != self._index:
            self.select(session=self._ids[index], window_s=None)

    def _usual_variables(self, selection: Selection) -> list[str]:
        """The selected one and some others."""
        names = self._reads.variables()
        first = [selection.variable] if selection.variable in names else []
        rest = sorted(names, key=lambda name: self._reads.covariate(name).source != "signal")
        return list(dict.fromkeys([*first, *rest]))[:MOST_VARIABLES]

    def _whole(self, selection: Selection) -> Selection:
        return replace(selection, split="all")

    def _trace(self, latent: int | None, sign: int) -> NDArray[np.float32]:
        """(n_bins,) activation of a latent, or of its half, in the session in view, of all splits."""
        assert self._selection is not None
        chosen = replace(self._whole(self._selection), latent=latent, sign=sign)
        return self._reads.activations(chosen).trace(self._reads.run.counts.n_bins)[self._time.rows]

    def _bouts(self) -> NDArray[np.float64]:
        assert self._selection is not None
        rows, mine = self._reads.activations(self._whole(self._selection)).rows, self._time.rows
        return bouts(rows[(rows >= mine.start) & (rows < mine.stop)] - mine.start, self._time.start_s)

    def _busiest(self, selection: Selection, only: int | None) -> tuple[int, float]:
        """Session, of all or of one, and start (s) of the window that holds most activation."""
        active = self._reads.activations(selection)
        offsets = self._reads.run.counts.row_offsets
        best, found = -1.0, (only or 0, session_times(self._reads, only or 0).low_s)
        for index in range(len(offsets) - 1) if only is None else (only,):
            mine = slice(*np.searchsorted(active.rows, offsets[index : index + 2]))
            times = session_times(self._reads, index).start_s[active.rows[mine] - offsets[index]]
            if len(times):
                summed = np.concatenate([[0.0], np.cumsum(np.abs(active.values[mine]), dtype=np.float64)])
                held = summed[np.searchsorted(times, times + WINDOW_S)] - summed[:-1]
                if held.max() > best:
                    best, found = float(held.max()), (index, float(times[held.argmax()]) - 0.02 * WINDOW_S)
        return found

    def _redraw(self) -> None:
        if self._selection is not None and not self._filling:
            self.draw(self._drawing(self._selection))

    def _drawing(self, selection: Selection) -> Drawing:
        time, window = self._time, self._window
        trace = self._trace(selection.latent, selection.sign)
        chosen = self._reads.split_mask(selection.split)[time.rows]
        panels: list[Panel] = [time.strip(trace, np.ascontiguousarray(chosen), window)]
        heights = [STRIP]
        own = (selection.latent, selection.sign)
        pinned = [each for each in selection.pinned if each != own][:MOST_PINNED]
        for each, colour in zip((own, *pinned), ROW_COLOURS, strict=False):
            values = trace if each == own else self._trace(*each)
            name = latent_name(replace(selection, latent=each[0], sign=each[1])).lower() if pinned else "activation"
            panels.append(time.activation(values, window, name=name, row=len(heights), colour=colour))
            heights.append(ACTIVATION_ROW if each == own else PINNED_ROW)
        for name in self._variables.value:
            covariate = self._reads.covariate(name)
            panels.append(time.behaviour(covariate, window, row=len(heights), trace=trace))
            heights.append(LABEL_ROW if covariate.kind == "discrete" else VARIABLE_ROW)
        panels.append(time.population(window, row=len(heights)))
        heights.append(POPULATION_ROW)
        return Drawing(
            panels=tuple(panels),
            summary=self._summary(selection, trace, pinned),
            rows=heights,
            limits={TIME: (time.low_s, time.high_s, LEAST_BINS * time.bin_s)},
        )

    def _few_coloured(self) -> list[str]:
        """What is said of ribbons of more labels than colours."""
        drawn = [self._reads.covariate(name) for name in self._variables.value]
        counts = {each.name: len(each.categories or ()) for each in drawn if each.kind == "discrete"}
        which = "in which it is most active"
        return [few_coloured(spoken(name), n, which) for name, n in counts.items()]

    def _summary(self, selection: Selection, trace: NDArray[np.float32], pinned: list[tuple[int, int]]) -> str:
        time, (low, high) = self._time, self._window
        inside = time.inside(low, high)
        active, n_bins = int(np.count_nonzero(trace[inside])), inside.stop - inside.start
        n_sessions = len(self._reads.run.counts.sessions)
        where = f", session {self._index + 1} of {n_sessions}" if n_sessions > 1 else ""
        n_gaps = int(time.stretch[-1]) if len(time.stretch) else 0
        said = [
            f"{latent_name(selection)}{where}, {number(low, 5)} to {number(high, 5)} s of {number(time.high_s, 5)} s:",
            f"active in {active} of {n_bins} bins ({share(active / max(n_bins, 1))}),",
            f"{len(self._bouts())} activations in the session.",
            f"Pinned beside it: {', '.join(str(latent) for latent, _ in pinned)}." if pinned else "",
            *self._few_coloured(),
            f"Grey: {n_gaps} gap{'s' * (n_gaps != 1)} in the recording." if n_gaps else "",
            ""
            if selection.split == "all"
            else f"The strip is tinted where bins are of the {selection.split} split; all splits are drawn.",
            "Drag to move, pinch or Ctrl and wheel to zoom, double-click for the whole session;",
            "press in the strip to go there.",
        ]
        return " ".join(each for each in said if each)


def _button(text: str, label: str) -> pmui.Button:
    return pmui.Button(label=text, size="small", variant="outlined", margin=0, description=label)
