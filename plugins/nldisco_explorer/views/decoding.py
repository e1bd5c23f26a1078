"""Tiles of the Overview page about decoding: from how many latents, and which variable single latents tell of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.binned import SPLITS
from nldisco_core.colours import of_series
from nldisco_core.mapping import MapperResult
from nldisco_core.runs import Run
from nldisco_core.selection import Selection
from nldisco_core.tuning import one_per_channel
from nldisco_explorer.drawing.legend import series_legend
from nldisco_explorer.drawing.payload import Axis, Drawing, Layer, Panel, around
from nldisco_explorer.drawing.tile import CanvasTile
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.wording import number

__all__ = ["DecodingByNumber", "DecodingOfLatents"]

MAPPER = "decoding"
UNDECODED = "The latents of this run were not decoded; add that with `nldisco map RUN --mapper decoding`."
HEIGHT, MOST_TICKS = 280, 8

Floats = NDArray[np.float64]


class DecodingByNumber:
    """View: held-out decoding from 1, 2, 5, … and all latents, units or components, model beside controls."""

    title: ClassVar[str] = "Decoding from few latents"
    page: ClassVar[str] = "overview"
    needs: ClassVar[frozenset[str]] = frozenset({"decoding mapping"})

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _NumberTile(readings(run))


class DecodingOfLatents:
    """View: how well each latent by itself tells of a position, against how well it tells of a direction."""

    title: ClassVar[str] = "Position against direction, latent by latent"
    page: ClassVar[str] = "overview"
    needs: ClassVar[frozenset[str]] = frozenset({"decoding mapping", "position", "circular"})

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _LatentsTile(readings(run))


def _decoded(reads: Readings) -> dict[str, MapperResult]:
    """What the decoding mapper found for each model; a mapping that does not tell numbers of latents is left out."""
    found = {name: reads.mapping(name, MAPPER) for name in reads.models if reads.is_mapped(name, MAPPER)}
    return {name: result for name, result in found.items() if "n_features" in result.table}


def _called(model: str) -> str:
    return "this model" if model == "model" else model


@dataclass(frozen=True, kw_only=True, eq=False)
class _Curve:
    """How decoding of one variable grows with the latents of one model.

    Attributes
    ----------
    n, score : (n_numbers,) latents chosen on train, the last number all of them, and their score, mean over instances
    dropped : n, mean and standard deviation over random subsets, mean over instances; None where none were drawn
    measure, split : what the score is, and of which bins
    n_train : (n_numbers,) training bins behind each score
    by_chance : score of all latents on the relabelled variable, mean over instances; NaN where that was not tried
    """

    n: Floats
    score: Floats
    dropped: tuple[Floats, Floats, Floats] | None
    measure: str
    split: str
    n_train: Floats
    by_chance: float


def _curve(result: MapperResult, variable: str) -> _Curve | None:
    """By nearest neighbours, which read every kind of variable; None where a model was not decoded."""
    table = result.table
    rows = table[(table["variable"] == variable) & table["method"].str.fullmatch(r"knn(, \d+ latents)?")]
    if not len(rows):
        return None
    split = max(rows["split"].unique(), key=SPLITS.index)
    rows = rows[rows["split"] == split]
    means = rows.groupby("n_features")[["score", "n_train"]].mean()
    n, mean, sd = (result.arrays.get(f"{variable}/dropping_{part}") for part in ("n", "mean", "sd"))
    return _Curve(
        n=means.index.to_numpy(dtype=np.float64),
        score=means["score"].to_numpy(dtype=np.float64),
        dropped=None if n is None or mean is None or sd is None else (n, mean.mean(axis=0), sd.mean(axis=0)),
        measure="balanced accuracy" if rows["balanced_accuracy"].notna().any() else "R²",
        split=str(split),
        n_train=means["n_train"].to_numpy(dtype=np.float64),
        by_chance=float(rows["null_mean"].mean()),
    )


class _NumberTile(CanvasTile):
    def __init__(self, reads: Readings) -> None:
        self._reads = reads
        super().__init__()

    def show(self, selection: Selection) -> None:
        """Draw the selected variable if it was decoded, else the first that was."""
        found = _decoded(self._reads)
        known = pd.concat([result.table["variable"] for result in found.values()]).unique() if found else []
        if not len(known):
            self.say(UNDECODED)
            return
        variable = str(selection.variable if selection.variable in known else known[0])
        curves = {name: _curve(result, variable) for name, result in found.items()}
        self.draw(_number_drawing(variable, {name: curve for name, curve in curves.items() if curve is not None}))


def _number_drawing(variable: str, curves: dict[str, _Curve]) -> Drawing:
    """A line per model over the logarithm of the number; dashed, with a band, that of random subsets."""
    layers: list[Layer] = []
    for index, (model, curve) in enumerate(curves.items()):
        layers.extend(_curve_layers(model, curve, of_series(index)))
    first = next(iter(curves.values()))
    most = max(float(curve.n[-1]) for curve in curves.values())
    drawn = [curve.score for curve in curves.values()] + [
        edge for curve in curves.values() if curve.dropped for edge in _band(*curve.dropped[1:])
    ]
    low, high = around(np.concatenate(drawn), include=0.0)
    panel = Panel(
        id="by-number",
        x=Axis(low=-0.15, high=np.log2(most) + 0.15, label="latents, units or components", ticks=_doubling(most)),
        y=Axis(low=low, high=high, label=f"{first.measure} of {variable}, {first.split} bins"),
        layers=(Layer("rules", y=[0.0], colour="neutral"), *layers),
        row=1,
    )
    return _below_legend(panel, curves, _said_of_numbers(variable, curves))


def _doubling(most: float) -> tuple[tuple[float, str], ...]:
    """Ticks at powers of two up to a number, on its logarithm."""
    doublings = int(np.log2(most))
    return tuple((float(power), str(2**power)) for power in range(0, doublings + 1, doublings // MOST_TICKS + 1))


def _band(mean: Floats, sd: Floats) -> tuple[Floats, Floats]:
    return mean - sd, mean + sd


def _curve_layers(model: str, curve: _Curve, colour: str) -> list[Layer]:
    name, own = _called(model), model == "model"
    layers = []
    if curve.dropped is not None:
        n, mean, sd = curve.dropped
        low, high = _band(mean, sd)
        layers += [
            Layer("band", {"x": np.log2(n), "low": low, "high": high}, colour=colour, alpha=0.14),
            Layer("line", {"x": np.log2(n), "y": mean, "n": n}, colour=colour, dash=[4, 4], width=1.25),
        ]
    points = {"x": np.log2(curve.n), "y": curve.score, "n": curve.n}
    said = [
        f"{name}\n{each:.0f} of {curve.n[-1]:.0f}\n{curve.measure} {number(score)}"
        for each, score in zip(curve.n, curve.score, strict=True)
    ]
    return [
        *layers,
        Layer("line", points, colour=colour, width=2.75 if own else 1.5),
        Layer("points", points, colour=colour, size=4 if own else 3, edge=True, labels=said, name=name),
    ]


def _said_of_numbers(variable: str, curves: dict[str, _Curve]) -> str:
    first = next(iter(curves.values()))
    said = [
        f"{first.measure} of {variable} on {first.split} bins, read by nearest neighbours from latents, units or "
        "components chosen on train bins (how many of them, the last being all); mean over instances."
    ]
    for model, curve in curves.items():
        pairs = zip(curve.n, curve.score, strict=True)
        chance = "" if np.isnan(curve.by_chance) else f", by chance {number(curve.by_chance, 2)}"
        said.append(f"{_called(model)}: {', '.join(f'{number(y, 2)} ({n:.0f})' for n, y in pairs)}{chance}.")
    few, every = first.n_train[[0, -1]]
    if few != every:
        said.append(f"Few are read by {few:.0f} train bins, all by {every:.0f}.")
    if any(curve.dropped for curve in curves.values()):
        said.append("Dashed: as many drawn at random, mean and standard deviation over draws.")
    return " ".join(said)


class _LatentsTile(CanvasTile):
    def __init__(self, reads: Readings) -> None:
        self._reads = reads
        super().__init__()

    def show(self, selection: Selection) -> None:
        """Draw latents of the selected instance; of a control with fewer instances, those of its last."""
        found = _decoded(self._reads)
        if not found:
            self.say(UNDECODED)
            return
        direction, position = (self._variable(kind, found, selection) for kind in ("circular", "position"))
        if direction is None or position is None:
            missing = "direction" if direction is None else "position"
            self.say(f"No {missing} was decoded from single latents, so there is nothing to hold against the other.")
            return
        scores = {
            name: (_of_instance(result, direction, selection), _of_instance(result, position, selection))
            for name, result in found.items()
            if {f"{direction}/latent_score", f"{position}/latent_score"} <= set(result.arrays)
        }
        self.draw(_scatter(direction, position, scores))

    def _variable(self, kind: str, found: dict[str, MapperResult], selection: Selection) -> str | None:
        """The selected variable if it is of a kind and its latents were scored, else the first such, if any."""
        parts = [part for name in self._reads.variables() for part in one_per_channel(self._reads.covariate(name))]
        arrays = next(iter(found.values())).arrays
        names = [part.name for part in parts if part.kind == kind and f"{part.name}/latent_score" in arrays]
        return selection.variable if selection.variable in names else next(iter(names), None)


def _of_instance(result: MapperResult, variable: str, selection: Selection) -> Floats:
    """(n_latents,) score of each latent by itself."""
    scores = np.asarray(result.arrays[f"{variable}/latent_score"], dtype=np.float64)
    return np.asarray(scores[min(selection.instance, len(scores) - 1)])


def _scatter(direction: str, position: str, scores: dict[str, tuple[Floats, Floats]]) -> Drawing:
    """A point per latent that varies, those of the model on top."""
    layers, said = [], []
    for index, (model, (x, y)) in enumerate(scores.items()):
        name, own = _called(model), model == "model"
        latents = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
        labels = [
            f"{name}, {latent}\n{direction} R² {number(x[latent])}\n{position} R² {number(y[latent])}"
            for latent in latents
        ]
        arrays = {"x": x[latents], "y": y[latents], "latent": latents}
        style = {"colour": of_series(index), "size": 4.5 if own else 3, "edge": True, "labels": labels}
        layers.append(Layer("points", arrays, name=name, **style))
        said.append(f"{name}: {len(latents)} points, at best {_best(x, latents)} and {_best(y, latents)}.")
    (x_low, x_high), (y_low, y_high) = (
        around(np.concatenate([pair[axis] for pair in scores.values()]), include=0.0) for axis in (0, 1)
    )
    panel = Panel(
        id="position-direction",
        x=Axis(low=x_low, high=x_high, label=f"held-out R² of {direction}"),
        y=Axis(low=y_low, high=y_high, label=f"held-out R² of {position}"),
        layers=(Layer("rules", x=[0.0], y=[0.0], colour="neutral"), *reversed(layers)),
        row=1,
    )
    lead = (
        "Held-out R² of each latent, unit or component by itself, with its number on hover and the best in brackets: "
        f"{direction} (right) and {position} (up)."
    )
    return _below_legend(panel, scores, " ".join([lead, *said]))


def _best(scores: Floats, latents: NDArray[np.int64]) -> str:
    if not len(latents):
        return "–"
    best = latents[scores[latents].argmax()]
    return f"{number(scores[best])} ({best})"


def _below_legend(panel: Panel, models: Iterable[str], summary: str) -> Drawing:
    """A panel below the names of the models in the order of their colours."""
    legend = series_legend(list(map(_called, models)), left=panel.margins[3])
    return Drawing(panels=(legend, panel), summary=summary, rows=(None, HEIGHT))
