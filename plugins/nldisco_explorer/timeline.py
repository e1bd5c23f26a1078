"""One session on one time axis: panels of activation, of behaviour and of the population, made as long as asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from nldisco_core.colours import ACTIVATION, BEHAVIOUR, PALETTE
from nldisco_explorer.categories import NONE, colour_keys, colour_numbers, label_strength
from nldisco_explorer.decimation import Pyramid, columns, decimated, stretches
from nldisco_explorer.drawing.payload import Axis, Layer, Panel, around, bytes_of
from nldisco_explorer.perievent import spoken

if TYPE_CHECKING:
    from nldisco_core.binned import Covariate
    from nldisco_explorer.readings import Readings

__all__ = ["TIME", "SessionTime", "session_times"]

TIME = "time"
N_POINTS = 2400
N_COLUMNS = 1100
N_DOTS = 3000
LEFT, RIGHT = 76, 14
CHANNELS = (BEHAVIOUR, PALETTE[4], PALETTE[2], PALETTE[3])
MOST_CATEGORIES, MOST_CHANGES = 250, 120


class SessionTime:
    """One session's bins, kept for every browser session.

    Attributes
    ----------
    rows : stacked bins of the session
    start_ns, start_s : (n_bins,) start of each
    stretch : (n_bins,) number of the stretch without a gap
    low_s, high_s : from the first bin's start to the last one's end (s)
    """

    def __init__(self, reads: Readings, index: int) -> None:
        data = reads.run.counts
        self._session = data.sessions[index]
        self._kind, self.bin_s = data.activity_kind, data.bin_s
        self.rows = slice(int(data.row_offsets[index]), int(data.row_offsets[index + 1]))
        self.start_ns = self._session.start_ns
        self.start_s = np.asarray(self.start_ns * 1e-9, dtype=np.float64)
        self.stretch = stretches(self.start_ns, data.bin_ns)
        self._is_break = np.diff(self.stretch) != 0
        self.bin_ns = data.bin_ns
        self.low_s, self.high_s = float(self.start_s[0]), float(self.start_s[-1]) + self.bin_s
        self._pyramid = Pyramid(self._session.activity)
        region = self._session.units.get("region")
        self._regions = np.full(len(self._session.units), "") if region is None else region.fillna("").to_numpy(str)
        self._order = np.argsort(self._regions, kind="stable")
        ids = self._session.units["id"].astype(str).to_numpy()
        self._row_names = [f"unit {ids[i]} {self._regions[i]}".strip() for i in self._order]

    def inside(self, low_s: float, high_s: float) -> slice:
        """Bins of the session that overlap a window."""
        slack = 0.01 * self.bin_s  # a bin that overlaps by a rounding error does not
        first, stop = np.searchsorted(self.start_s, [low_s - self.bin_s + slack, high_s - slack])
        return slice(int(first), int(stop))

    def axis(self, low_s: float, high_s: float, *, last: bool = False) -> Axis:
        """The time axis of a panel; only the last one is written on."""
        label = "time in the session (s)" if last else ""
        return Axis(low=low_s, high=high_s, label=label, hover="time (s)", link=TIME, shown=last)

    def gaps(self, zero_s: float = 0.0) -> Layer:
        """Times without bins, in grey, counted from a moment (s)."""
        after = np.flatnonzero(self._is_break)
        return Layer(
            "spans",
            {"low": self.start_s[after] + self.bin_s - zero_s, "high": self.start_s[after + 1] - zero_s},
            colour="neutral",
            alpha=0.18,
        )

    def tinted(self, chosen: NDArray[np.bool_]) -> list[Layer]:
        """Tint of the (n_bins,) bins of a split, to lie under a trace of all; none where all bins are of it."""
        return [] if chosen.all() else [Layer("spans", self._runs(chosen), colour="behaviour", alpha=0.1)]

    def veiled(self, chosen: NDArray[np.bool_], inside: slice, zero_s: float) -> list[Layer]:
        """What lies over a trace of some bins to make those outside a split paler, counted from a moment (s)."""
        runs = self._runs(~chosen, inside)
        outside = {end: each - zero_s for end, each in runs.items()}
        return [Layer("spans", outside, colour="ground", alpha=0.65)] if len(runs["low"]) else []

    def _runs(self, chosen: NDArray[np.bool_], inside: slice = slice(None)) -> dict[str, NDArray[np.float64]]:
        """From where to where neighbouring bins are chosen (s); gaps in the recording lie between runs."""
        chosen, start_s, stretch = chosen[inside], self.start_s[inside], self.stretch[inside]
        changes = np.flatnonzero((chosen[1:] != chosen[:-1]) | (stretch[1:] != stretch[:-1])) + 1
        first, last = np.append(0, changes), np.append(changes, len(chosen)) - 1
        kept = chosen[first]
        return {"low": start_s[first[kept]], "high": start_s[last[kept]] + self.bin_s}

    def strip(self, trace: NDArray[Any], chosen: NDArray[np.bool_], window: tuple[float, float]) -> Panel:
        """The whole session in one row, with the window in view; bins of the split are tinted.

        Parameters
        ----------
        trace, chosen : (n_bins,) activation, and which bins are of the selected split
        """
        x, y = decimated(self.start_s, trace, self.stretch, 1600)
        layers = [
            self.gaps(),
            *self.tinted(chosen),
            Layer("area", {"x": x, "y": np.abs(y)}, colour="activation", alpha=0.4),
            Layer("line", {"x": x, "y": np.abs(y)}, colour="activation", width=1),
            Layer("window", link=TIME, range=list(window)),
        ]
        return Panel(
            id="strip",
            x=Axis(low=self.low_s, high=self.high_s, hover="time (s)"),
            y=Axis(low=0, high=1.05 * float(np.abs(trace).max(initial=0.0)) or 1.0, label="whole", shown=False),
            layers=tuple(layers),
            margins=(4, RIGHT, 22, LEFT),
            grid=False,
            strip=TIME,
        )

    def activation(
        self,
        trace: NDArray[Any],
        window: tuple[float, float],
        *,
        name: str,
        row: int,
        colour: str,
        last: bool = False,
    ) -> Panel:
        """Activation of one latent over the window; the axis fits the whole session."""
        inside = self.inside(*window)
        x, y = decimated(self.start_s[inside], trace[inside], self.stretch[inside], N_POINTS)
        low, high = around(np.array([trace.min(), trace.max()]), include=0.0)
        step = len(x) <= N_POINTS
        return Panel(
            id=name,
            x=self.axis(*window, last=last),
            y=Axis(low=low, high=high, label=name),
            layers=(
                self.gaps(),
                Layer("area", {"x": x, "y": y}, colour=colour, alpha=0.35, step=step),
                Layer("line", {"x": x, "y": y}, colour=colour, width=1.4, step=step, name="activation"),
            ),
            row=row,
            margins=(6, RIGHT, 42 if last else 6, LEFT),
            drag="pan",
        )

    def behaviour(self, covariate: Covariate, window: tuple[float, float], *, row: int, trace: NDArray[Any]) -> Panel:
        """A variable over the window: a ribbon of labels, dots for angles, lines for the channels of all others.

        Parameters
        ----------
        trace : (n_bins,) activation; of more labels than colours those in which it is strongest are coloured
        """
        values = covariate.values[self.rows]
        if covariate.kind == "discrete":
            return self._ribbon(
                covariate,
                values[:, 0],
                window,
                row,
                label_strength(values[:, 0], trace, len(covariate.categories or ())),
            )
        inside = self.inside(*window)
        unit = "°" if covariate.kind == "circular" else covariate.physical_unit
        name = spoken(covariate.name)
        label = f"{name} ({unit})" if unit else name
        if covariate.kind == "circular":
            every = max(-(-(inside.stop - inside.start) // N_DOTS), 1)
            kept = slice(inside.start, inside.stop, every)
            angle = ((values[kept, 0] / (covariate.period or 1.0) + 0.5) % 1 - 0.5) * 360
            dots = Layer("points", {"x": self.start_s[kept], "y": angle}, colour="behaviour", size=1.3)
            ticks = tuple((float(each), f"{each}°".replace("-", "−")) for each in (-180, -90, 0, 90, 180))
            y, layers = Axis(low=-190, high=190, label=label, ticks=ticks[::2]), [dots]
        else:
            low, high = around(values)
            y, layers = Axis(low=low, high=high, label=label), []
            for channel, column, colour in zip(covariate.channels, values.T, CHANNELS, strict=False):
                x, drawn = decimated(self.start_s[inside], column[inside], self.stretch[inside], N_POINTS)
                said = name if len(covariate.channels) == 1 else channel
                layers.append(Layer("line", {"x": x, "y": drawn}, colour=colour, width=1.4, name=said))
        if np.isnan(values[inside]).all():
            x_middle, y_middle = sum(window) / 2, (y.low + y.high) / 2
            layers.append(Layer("words", text=[f"no {name} here"], x=[x_middle], y=[y_middle]))
        return Panel(
            id=covariate.name,
            x=self.axis(*window),
            y=y,
            layers=(self.gaps(), *layers),
            row=row,
            margins=(6, RIGHT, 6, LEFT),
            drag="pan",
        )

    def _ribbon(
        self,
        covariate: Covariate,
        values: NDArray[Any],
        window: tuple[float, float],
        row: int,
        strength: NDArray[np.float64],
    ) -> Panel:
        over = columns(self.start_ns, self.bin_ns, *window, N_COLUMNS)
        middle = np.minimum((over.first[:-1] + over.first[1:]) // 2, len(values) - 1)
        codes = np.where(over.held, values[middle], np.nan)
        known = ~np.isnan(codes) & (codes < MOST_CATEGORIES)
        image = np.where(known, np.nan_to_num(codes), NONE).astype(np.uint8)
        names = {str(i): label for i, label in enumerate(covariate.categories or ())}
        layer = Layer(
            "image",
            {"image": image},
            shape=[1, len(image)],
            extent=[over.start_s, over.stop_s, 0, 1],
            scale="categories",
            colours=colour_keys(colour_numbers(strength))[:MOST_CATEGORIES],
            missing=True,
            name=spoken(covariate.name),
            names=names or {f"{code:g}": f"{code:g}" for code in np.unique(codes[known])},
        )
        return Panel(
            id=covariate.name,
            x=self.axis(*window),
            y=Axis(low=0, high=1, label=spoken(covariate.name), shown=False),
            layers=(layer, Layer("rules", x=_changes(image, over.start_s, over.stop_s), colour="ground", width=2)),
            row=row,
            margins=(6, RIGHT, 6, LEFT),
            drag="pan",
            grid=False,
        )

    def population(self, window: tuple[float, float], *, row: int) -> Panel:
        """All units over the window, by region, in spikes a second; a column of time is the mean of its bins."""
        over = columns(self.start_ns, self.bin_ns, *window, N_COLUMNS)
        means = self._pyramid.means(over)[:, self._order].T
        signed = self._kind == "continuous" and bool((means < 0).any())
        per_s = 1 / self.bin_s if self._kind == "counts" else 1.0
        positive = np.abs(means[np.isfinite(means) & (means != 0)])
        top = float(np.percentile(positive, 98)) if positive.size else 1.0
        bottom = -top if signed else 0.0
        n_units = len(means)
        regions = self._regions[self._order]
        names, firsts, sizes = np.unique(regions, return_index=True, return_counts=True)
        stops = firsts + sizes
        layers = [
            Layer(
                "image",
                {"image": bytes_of(means, bottom, top)},
                shape=list(means.shape),
                extent=[over.start_s, over.stop_s, 0, n_units],
                scale="diverging" if signed else "ink",
                missing=True,
                bottom=bottom * per_s,
                top=top * per_s,
                name="value" if self._kind == "continuous" else "rate (Hz)",
                rows=self._row_names,
            ),
            Layer(
                "stripes",
                bounds=[(n_units - stop, n_units - start) for start, stop in zip(firsts, stops, strict=True)],
                colours=colour_keys(colour_numbers(sizes)),
                names=list(names),
            ),
        ]
        return Panel(
            id="population",
            x=self.axis(*window, last=True),
            y=Axis(low=0, high=n_units, label=f"{n_units} units", shown=False),
            layers=tuple(layers),
            row=row,
            margins=(6, RIGHT, 42, LEFT),
            drag="pan",
            grid=False,
        )


def _changes(codes: NDArray[np.uint8], start_s: float, stop_s: float) -> list[float]:
    """Times at which one label follows another (s), few enough to be seen apart; none where they are more."""
    known = (codes[1:] != NONE) & (codes[:-1] != NONE)
    at = np.flatnonzero((np.diff(codes.astype(np.int16)) != 0) & known) + 1
    return (start_s + (stop_s - start_s) * at / len(codes)).tolist() if len(at) <= MOST_CHANGES else []


_kept: WeakKeyDictionary[Readings, dict[int, SessionTime]] = WeakKeyDictionary()


def session_times(reads: Readings, index: int) -> SessionTime:
    """The time of one session, made when first asked for."""
    made = _kept.setdefault(reads, {})
    if index not in made:
        made[index] = SessionTime(reads, index)
    return made[index]


ROW_COLOURS = (ACTIVATION, PALETTE[2], PALETTE[3], PALETTE[4], PALETTE[5])
"""Of the selected latent, then of the pinned ones."""
