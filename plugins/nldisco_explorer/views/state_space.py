"""The tile of dense codes: places in three dimensions, coloured two ways and turned together, and a flow field."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import panel_material_ui as pmui
from numpy.typing import NDArray

from nldisco_core.binned import Covariate
from nldisco_core.runs import Run
from nldisco_core.selection import Selection
from nldisco_explorer.categories import NONE, category_legend, colour_numbers, few_coloured, label_strength
from nldisco_explorer.drawing.payload import Axis, Drawing, Layer, Panel, bytes_of
from nldisco_explorer.drawing.tile import CanvasTile
from nldisco_explorer.evidence import latent_name
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.state_space import Flow, flow_field, is_dense, space3
from nldisco_explorer.wording import number

__all__ = ["StateSpace"]

MOST_POINTS = 4000
CLOUD, LEGEND = 340, 42
TIME = "time"


class StateSpace:
    """View: what a dense or signed code looks like as a space."""

    title: ClassVar[str] = "Latent space"
    page: ClassVar[str] = "latent"
    needs: ClassVar[frozenset[str]] = frozenset()
    wide: ClassVar[bool] = True

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _SpaceTile(readings(run))


class _SpaceTile(CanvasTile):
    tile = "state-space"

    def __init__(self, reads: Readings) -> None:
        self._reads = reads
        self._selection: Selection | None = None
        self._colours = _colour_names(reads)
        self._colour = pmui.Select(label="coloured by", options=list(self._colours), size="small", width=190, margin=0)
        self._second = pmui.Select(label="flow against latent", options=[0], size="small", width=170, margin=0)
        self._colour.param.watch(lambda event: self.set(self._selection, "colour", event.new), "value")
        self._second.param.watch(lambda event: self.set(self._selection, "flow", str(event.new)), "value")
        super().__init__(self._colour, self._second)

    def show(self, selection: Selection) -> None:
        """Draw the space of the selected model."""
        self._selection = selection
        self.applies = is_dense(self._reads, selection.model)
        self._colour.visible = self._second.visible = self.applies
        if not self.applies:
            self.say(
                "This code is sparse; its latents are read one by one.",
                "Trajectories are drawn of dense and signed codes.",
            )
            return
        with self.filling():
            fitting = [name for name, (variable, _) in self._colours.items() if variable == selection.variable]
            self._colour.value = self.setting(selection, "colour", self._colours) or [*fitting, TIME][0]
            latents = range(self._reads.space(selection.model).n_latents)
            others = [i for i in latents if i != selection.latent]
            kept = int(self.setting(selection, "flow", [str(i) for i in latents]) or -1)
            self._second.param.update(options=others, value=kept if kept in others else next(iter(others), None))
            self._second.visible = bool(others)
        self._redraw()

    def _redraw(self) -> None:
        if self._selection is not None and self.applies and not self._filling:
            self.draw(self._drawing(self._selection))

    def _drawing(self, selection: Selection) -> Drawing:
        reads = self._reads
        made = space3(reads, selection.model, selection.instance)
        used = np.flatnonzero(reads.split_mask(selection.split) & reads.defined(selection.model))
        drawn = used[:: max(-(-len(used) // MOST_POINTS), 1)]
        if not len(used):
            return Drawing(panels=(), summary=f"The {selection.split} split holds no bins of this model.", rows=(0,))
        xyz = _scaled(made.places, drawn)
        code = np.asarray(reads.space(selection.model).dense(selection.instance), dtype=np.float32)
        own = code[:, selection.latent or 0]
        values, style, legend, labels = self._coloured(drawn, own[drawn])
        variable, _ = self._colours[self._colour.value]
        n_labels = 0 if variable == TIME else len(reads.covariate(variable).categories or ())
        few = filter(None, [few_coloured(variable, n_labels, "in which the latent is most active")])
        top = float(np.percentile(np.abs(own[used]), 99)) or 1.0
        signed = bool((own[used] < 0).any())
        scale = "balance" if signed else "visible"
        panels = [
            legend,
            _cloud(xyz, values, labels, self._colour.value, 0, style),
            _ramp(number(-top if signed else 0.0), number(top), f"activation of latent {selection.latent}", 1, scale),
            _cloud(
                xyz,
                bytes_of(own[drawn], -top if signed else 0.0, top),
                [],
                "activation",
                1,
                {"scale": scale, "missing": True},
            ),
        ]
        columns: tuple[float, ...] = (1, 1)
        said = [
            f"{len(drawn)} of {len(used)} bins in {', '.join(made.axes)},",
            f"coloured by {self._colour.value} and by {latent_name(selection).lower()}; drag to turn both.",
            *few,
        ]
        if self._second.value is not None and selection.latent is not None:
            flow = flow_field(own, code[:, self._second.value], self._joined(selection))
            panels += [_flow(flow, selection.latent, self._second.value)]
            columns = (1, 1, 1)
            said.append(
                f"Arrows: mean step from one bin to the next in {len(flow.x)} cells of 5 steps or more, "
                f"{number(_stretch(flow), 2)} times as long as they are."
            )
        return Drawing(
            panels=tuple(panels), summary=" ".join(said), rows=(LEGEND, CLOUD), columns=columns, least_column=270
        )

    def _joined(self, selection: Selection) -> NDArray[np.bool_]:
        """(n_bins - 1,) steps between neighbouring bins of one stretch, both of the split."""
        reads = self._reads
        used = reads.split_mask(selection.split) & reads.defined(selection.model)
        segments = reads.run.counts.segments
        return np.asarray(used[1:] & used[:-1] & (np.diff(segments) == 0))

    def _coloured(
        self, drawn: NDArray[np.int64], own: NDArray[Any]
    ) -> tuple[NDArray[np.uint8], dict[str, Any], Panel, list[str]]:
        """Bytes of the colours of the bins drawn, how they are read, their legend, and words for each."""
        name = self._colour.value
        if name == TIME:
            low, high = float(drawn[0]), float(drawn[-1]) if len(drawn) > 1 else 1.0
            return (
                bytes_of(drawn, low, high),
                {"scale": "visible", "missing": True},
                _ramp("first", "last bin", "time", 0, "visible"),
                [],
            )
        variable, channel = self._colours[name]
        covariate = self._reads.covariate(variable)
        column = covariate.values[drawn, channel]
        if covariate.kind == "discrete":
            return _by_category(covariate, column, name, label_strength(column, own, len(covariate.categories or ())))
        unit = covariate.physical_unit or ""
        if covariate.kind == "circular":
            values = bytes_of(column / (covariate.period or 1.0) % 1, 0.0, 1.0)
            legend = _ramp("0°", "360°", name, 0, "cycle")
            return (
                values,
                {"scale": "cycle", "missing": True},
                legend,
                [f"{name} {number(value)} {unit}" for value in column],
            )
        low, high = (
            (float(each) for each in np.nanpercentile(column, [2, 98])) if np.isfinite(column).any() else (0.0, 1.0)
        )
        legend = _ramp(number(low), number(high), f"{name} ({unit})" if unit else name, 0, "visible")
        return (
            bytes_of(column, low, high),
            {"scale": "visible", "missing": True},
            legend,
            [f"{name} {number(value)} {unit}" for value in column],
        )


def _colour_names(reads: Readings) -> dict[str, tuple[str, int]]:
    """What points can be coloured by: time, then each channel of each variable."""
    found: dict[str, tuple[str, int]] = {TIME: (TIME, 0)}
    for variable in reads.variables():
        channels = reads.covariate(variable).channels
        for i, channel in enumerate(channels):
            found[variable if len(channels) == 1 else f"{variable}.{channel}"] = (variable, i)
    return found


def _by_category(
    covariate: Covariate, column: NDArray[Any], name: str, strength: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], dict[str, Any], Panel, list[str]]:
    """Of more labels than colours those in which the latent is strongest are coloured."""
    labels = covariate.categories or tuple(f"{i}" for i in range(len(strength)))
    numbers = colour_numbers(strength)
    values = np.append(numbers, NONE)[np.where(np.isnan(column), -1, np.nan_to_num(column)).astype(np.int64)]
    said = [f"{name} {labels[int(value)]}" if value == value else f"no {name}" for value in column]
    return values, {"scale": "categories"}, _header(category_legend(labels, numbers), 0), said


def _scaled(places: NDArray[np.float32], drawn: NDArray[np.int64]) -> NDArray[np.float32]:
    """Places of the drawn bins about their median, the radius of nearly all of them made one."""
    chosen = places[drawn] - np.median(places[drawn], axis=0)
    reach = float(np.percentile(np.linalg.norm(chosen, axis=1), 99)) or 1.0
    return np.ascontiguousarray(chosen / reach)


def _header(layer: Layer, column: int) -> Panel:
    flat = Axis(low=0, high=1, shown=False)
    return Panel(x=flat, y=flat, layers=(layer,), column=column, margins=(2, 8, 2, 12), grid=False, frame=False)


def _ramp(low: str, high: str, name: str, column: int, scale: str) -> Panel:
    return _header(Layer("ramp", scale=scale, low=low, high=high, name=name), column)


def _cloud(
    xyz: NDArray[np.float32],
    values: NDArray[np.uint8],
    labels: list[str],
    name: str,
    column: int,
    style: dict[str, Any],
) -> Panel:
    rods = [np.concatenate([np.zeros(3), 0.6 * np.eye(3)[axis]]) for axis in range(3)]
    layers = [Layer("path3", {"xyz": rod}, colour="muted", width=1.4) for rod in rods]
    cloud = Layer(
        "cloud",
        {"xyz": xyz.ravel(), "values": values},
        size=2.0,
        alpha=0.75,
        **({"labels": labels} if labels else {}),
        **style,
    )
    flat = Axis(low=-1.15, high=1.15, shown=False)
    return Panel(
        id=name,
        row=1,
        column=column,
        x=flat,
        y=flat,
        layers=(*layers, cloud),
        margins=(2, 8, 8, 8),
        equal=True,
        grid=False,
        frame=False,
        drag="turn",
    )


def _stretch(flow: Flow) -> float:
    """Factor by which arrows are drawn longer: the strongest nearly fill a cell."""
    if not len(flow.x):
        return 1.0
    filled = np.hypot(flow.u / (flow.cell[0] or 1.0), flow.v / (flow.cell[1] or 1.0))
    return 0.95 / (float(np.percentile(filled, 95)) or 1.0)


def _flow(flow: Flow, first: int, second: int) -> Panel:
    stretch = _stretch(flow)
    half = [each / 2 for each in flow.cell]
    reach = [
        (float(values.min()) - 1.5 * pad, float(values.max()) + 1.5 * pad) if len(values) else (-1.0, 1.0)
        for values, pad in ((flow.x, half[0]), (flow.y, half[1]))
    ]
    strength = bytes_of(np.log1p(flow.n_steps), 0.0, float(np.log1p(flow.n_steps).max(initial=1.0)))
    arrows: dict[str, NDArray[Any]] = {
        "x": flow.x,
        "y": flow.y,
        "u": stretch * flow.u,
        "v": stretch * flow.v,
        "values": strength,
    }
    return Panel(
        id="flow",
        title="Mean step (stronger: of more bins)",
        row=1,
        column=2,
        x=Axis(low=reach[0][0], high=reach[0][1], label=f"latent {first}"),
        y=Axis(low=reach[1][0], high=reach[1][1], label=f"latent {second}"),
        layers=(Layer("arrows", arrows, scale="visible"),),
        margins=(8, 12, 42, 54),
    )
