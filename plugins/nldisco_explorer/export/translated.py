"""Bokeh figures as panels of a `Drawing`, so that files and pages without Bokeh show the same arrays."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.core.property.vectorization import Field, Value
from bokeh.models import (
    CategoricalScale,
    ColorBar,
    DataRange1d,
    FactorRange,
    FixedTicker,
    GlyphRenderer,
    Legend,
    LogScale,
    Plot,
    Span,
)
from numpy.typing import NDArray

from nldisco_core.errors import NLDiscoError
from nldisco_explorer.drawing.payload import Axis, Drawing, Layer, Panel, around, bytes_of
from nldisco_explorer.histograms import decades

__all__ = ["Marks", "NotTranslated", "translated"]

ARC = 24  # corners of a whole circle's rim for each of its halves
LEGEND_ROW = 24


class NotTranslated(NLDiscoError):
    """A figure holds a mark that no panel can show."""


def translated(figures: Sequence[Plot], summary: str) -> Drawing:
    """Figures that stand below each other as one drawing.

    Raises
    ------
    NotTranslated
        A mark of a figure is of a kind that no panel can show.
    """
    panels, rows = list[Panel](), list[int]()
    for figure in figures:
        legend = next(
            (each for each in (*figure.above, *figure.center) if isinstance(each, Legend) and each.visible), None
        )
        if legend is not None:
            panels.append(_legend(figure, legend, len(rows)))
            rows.append(LEGEND_ROW)
        panels.append(_panel(figure, len(rows)))
        bar = next((each for each in figure.right if isinstance(each, ColorBar)), None)
        if bar is not None:
            panels.append(_colour_bar(bar, panels[-1], len(rows)))
        rows.append(int(figure.height or 300))
    has_bar = any(panel.column for panel in panels)
    return Drawing(
        panels=tuple(panels),
        summary=summary,
        rows=rows,
        columns=(5, 1) if has_bar else (1,),
    )


def _panel(figure: Plot, row: int) -> Panel:
    layers = [layer for renderer in figure.renderers for layer in _layers(figure, renderer)]
    squared = figure.frame_width is not None and figure.frame_width == figure.frame_height
    shown = any(axis.visible for axis in figure.xaxis)
    margins = (figure.min_border_top or 10, 14, figure.min_border_bottom or 40, figure.min_border_left or 54)
    return Panel(
        x=_axis(figure, "x", layers),
        y=_axis(figure, "y", layers),
        layers=tuple(layers),
        row=row,
        margins=margins,
        equal=squared,
        grid=shown and not squared,
        frame=any(axis.visible for axis in (*figure.xaxis, *figure.yaxis)),
    )


def _axis(figure: Plot, side: str, layers: Sequence[Layer]) -> Axis:
    places = Places(figure, side)
    axes = [axis for axis in (figure.xaxis if side == "x" else figure.yaxis) if axis.visible]
    drawn = axes[0] if axes else None
    # A range that follows the data is worked out by the browser alone, so here it is worked out once more.
    low, high = _reach(layers, side) if isinstance(getattr(figure, f"{side}_range"), DataRange1d) else places.ends
    ticks: tuple[tuple[float, str], ...] | None = None
    if places.factors:
        ticks = tuple((i + 0.5, str(name)) for i, name in enumerate(places.factors))
    elif places.log:
        ticks = decades(low, high)
    elif drawn is not None and isinstance(drawn.ticker, FixedTicker):
        names = drawn.major_label_overrides
        ticks = tuple((float(at), str(names.get(at, names.get(str(at), f"{at:g}")))) for at in drawn.ticker.ticks)
    label = ((drawn.axis_label if drawn is not None else None) or "").strip()
    return Axis(low=low, high=high, label=label, ticks=ticks, shown=drawn is not None)


def _reach(layers: Sequence[Layer], side: str) -> tuple[float, float]:
    """Ends of an axis that holds all that is drawn, with a tenth of its length beyond, as Bokeh leaves it."""
    named = {"x": ("x",), "y": ("y", "low", "high")}[side]
    values = [array for layer in layers for name, array in layer.arrays.items() if name in named]
    at = slice(0, 2) if side == "x" else slice(2, 4)
    values += [np.asarray(layer.style["extent"][at]) for layer in layers if layer.kind == "image"]
    values += [np.asarray(layer.style[side], dtype=np.float64) for layer in layers if layer.kind == "words"]
    return around(np.concatenate(values) if values else np.empty(0), share=0.1)


class Places:
    """Where values stand along one side of a figure: logarithms on a log scale, the middle of its slot for a factor."""

    def __init__(self, figure: Plot, side: str) -> None:
        shown, scale = getattr(figure, f"{side}_range"), getattr(figure, f"{side}_scale")
        self.log = isinstance(scale, LogScale)
        self.factors = (
            list(shown.factors) if isinstance(shown, FactorRange) or isinstance(scale, CategoricalScale) else []
        )
        self.ends = (0.0, float(len(self.factors))) if self.factors else (self._end(shown.start), self._end(shown.end))

    def _end(self, value: Any) -> float:
        number = float(value) if value is not None and np.isfinite(float(value)) else 0.0
        return float(np.log10(number)) if self.log and number > 0 else number

    def of(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Places of values."""
        if self.factors:
            slots = {name: i + 0.5 for i, name in enumerate(self.factors)}
            return np.array([slots.get(value, np.nan) for value in values], dtype=np.float64)
        numbers = np.asarray(values, dtype=np.float64)
        if not self.log:
            return numbers
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.log10(numbers))


class Marks:
    """The marks of one renderer, with every property as one value for each."""

    def __init__(self, figure: Plot, renderer: GlyphRenderer) -> None:
        self.glyph, self.data = renderer.glyph, renderer.data_source.data
        self.x, self.y = Places(figure, "x"), Places(figure, "y")
        lengths = [len(self.data[spec]) for spec in map(self.field, self.glyph.properties()) if spec in self.data]
        self.n = max(lengths, default=1)

    def field(self, name: str) -> str:
        """Name of the column behind a property, empty where it has none."""
        spec = getattr(self.glyph, name, None)
        return spec.field if isinstance(spec, Field) else spec if isinstance(spec, str) else ""

    def column(self, name: str) -> NDArray[Any]:
        """(n,) values of a property."""
        spec = getattr(self.glyph, name)
        if isinstance(spec, Field) or (isinstance(spec, str) and spec in self.data):
            return np.asarray(self.data[spec.field if isinstance(spec, Field) else spec])
        return np.full(self.n, spec.value if isinstance(spec, Value) else spec)

    def at(self, name: str, side: str) -> NDArray[np.float64]:
        """(n,) places of a property along a side of the figure."""
        return (self.x if side == "x" else self.y).of(self.column(name))

    def one(self, name: str, default: Any = None) -> Any:
        """A property that is the same for all marks."""
        value = getattr(self.glyph, name, default)
        return value.value if isinstance(value, Value) else value

    def colours(self, name: str) -> Iterator[tuple[Any, NDArray[np.bool_]]]:
        """Each colour of a property with the marks that have it; none where they have no colour."""
        values = self.column(name)
        for colour in dict.fromkeys(values.tolist()):
            if colour is not None:
                yield colour, np.asarray(values == colour)


def _layers(figure: Plot, renderer: Any) -> Iterator[Layer]:
    if isinstance(renderer, Span):
        at = {"x" if renderer.dimension == "height" else "y": [renderer.location]}
        yield Layer("rules", None, colour=renderer.line_color, width=renderer.line_width, **at)
        return
    if not isinstance(renderer, GlyphRenderer) or not renderer.visible:
        return
    marks, kind = Marks(figure, renderer), type(renderer.glyph).__name__
    if kind not in TRANSLATORS:
        raise NotTranslated(
            f"a mark of kind {kind} cannot be saved as a figure; expected one of {', '.join(TRANSLATORS)}"
        )
    yield from TRANSLATORS[kind](marks)


def _lines(marks: Marks) -> Iterator[Layer]:
    yield _stroked(marks, marks.at("x", "x"), marks.at("y", "y"), marks.one("line_color"))


def _multi_lines(marks: Marks) -> Iterator[Layer]:
    """A layer for each line, which may have any number of points."""
    xs, ys = (marks.data[marks.field(name)] for name in ("xs", "ys"))
    for x, y, colour in zip(xs, ys, marks.column("line_color"), strict=True):
        yield _stroked(marks, marks.x.of(np.asarray(x)), marks.y.of(np.asarray(y)), colour)


def _steps(marks: Marks) -> Iterator[Layer]:
    if marks.one("mode") != "after":
        raise NotTranslated(f"steps {marks.one('mode')!r} cannot be saved as a figure; draw them with mode 'after'")
    arrays = {"x": marks.at("x", "x"), "y": marks.at("y", "y")}
    yield Layer("line", arrays, colour=marks.one("line_color"), width=marks.one("line_width", 1), step=True)


def _stroked(marks: Marks, x: NDArray[np.float64], y: NDArray[np.float64], colour: Any) -> Layer:
    """A line, drawn as one where x ascends (as `line` layers take it), else as an open shape."""
    style = {"colour": colour, "width": marks.one("line_width", 1), "alpha": marks.one("line_alpha", 1)}
    ascends = len(x) < 2 or bool(np.all(np.diff(x) >= 0))
    return Layer("line" if ascends else "shape", {"x": x, "y": y}, **style)


def _bands(marks: Marks) -> Iterator[Layer]:
    arrays = {"x": marks.at("x", "x"), "low": marks.at("y1", "y"), "high": marks.at("y2", "y")}
    yield Layer("band", arrays, colour=marks.one("fill_color"), alpha=marks.one("fill_alpha", 1))


def _step_areas(marks: Marks) -> Iterator[Layer]:
    x, y, base = marks.at("x", "x"), marks.at("y2", "y"), marks.at("y1", "y")
    style = {"colour": marks.one("fill_color"), "alpha": marks.one("fill_alpha", 1), "step": True}
    yield Layer("area", {"x": x, "y": y}, base=float(base[0]) if len(base) else 0.0, **style)


def _points(marks: Marks) -> Iterator[Layer]:
    x, y, size = marks.at("x", "x"), marks.at("y", "y"), float(np.max(marks.column("size"), initial=1))
    for colour, those in marks.colours("fill_color"):
        arrays = {"x": x[those], "y": y[those]}
        yield Layer("points", arrays, colour=colour, size=size / 2, alpha=marks.one("fill_alpha", 1))


def _segments(marks: Marks) -> Iterator[Layer]:
    ends = [marks.at(name, name[0]) for name in ("x0", "x1", "y0", "y1")]
    for colour, those in marks.colours("line_color"):
        x = _apart(np.stack([ends[0][those], ends[1][those]], axis=1))
        y = _apart(np.stack([ends[2][those], ends[3][those]], axis=1))
        style = {"width": marks.one("line_width", 1), "alpha": marks.one("line_alpha", 1)}
        yield Layer("shape", {"x": x, "y": y}, colour=colour, **style)


def _boxes(marks: Marks) -> Iterator[Layer]:
    yield from _filled(marks, *_corners(*(marks.at(n, s) for n, s in zip(EDGES, "xxyy", strict=True))))


def _bars(marks: Marks) -> Iterator[Layer]:
    middle, half = marks.at("x", "x"), np.asarray(marks.column("width"), dtype=np.float64) / 2
    yield from _filled(marks, *_corners(middle - half, middle + half, marks.at("bottom", "y"), marks.at("top", "y")))


def _lying_bars(marks: Marks) -> Iterator[Layer]:
    middle, half = marks.at("y", "y"), np.asarray(marks.column("height"), dtype=np.float64) / 2
    yield from _filled(marks, *_corners(marks.at("left", "x"), marks.at("right", "x"), middle - half, middle + half))


def _rectangles(marks: Marks) -> Iterator[Layer]:
    x, y = marks.at("x", "x"), marks.at("y", "y")
    width, height = (np.asarray(marks.column(name), dtype=np.float64) / 2 for name in ("width", "height"))
    yield from _filled(marks, *_corners(x - width, x + width, y - height, y + height))


def _corners(
    left: NDArray[Any], right: NDArray[Any], bottom: NDArray[Any], top: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners of each box; an edge that lies at minus infinity, as zero does on a log scale, far below all else."""
    deep = np.where(np.isneginf(bottom), -12.0, bottom)
    return np.stack([left, right, right, left], axis=1), np.stack([deep, deep, top, top], axis=1)


def _patches(marks: Marks) -> Iterator[Layer]:
    yield from _filled(marks, marks.at("x", "x")[None], marks.at("y", "y")[None])


def _many_patches(marks: Marks) -> Iterator[Layer]:
    """A layer for each patch, which may have any number of corners."""
    fills, lines = (marks.column(name) for name in ("fill_color", "line_color"))
    for number, (xs, ys) in enumerate(zip(marks.data[marks.field("xs")], marks.data[marks.field("ys")], strict=True)):
        at = {"x": _closed(marks.x.of(np.asarray(xs))), "y": _closed(marks.y.of(np.asarray(ys)))}
        if fills[number] is not None:
            yield Layer("shape", at, fill=fills[number], alpha=float(marks.one("fill_alpha", 1)))
        if lines[number] is not None:
            yield Layer("shape", at, colour=lines[number], width=marks.one("line_width", 1))


def _closed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.append(values, values[:1])


def _ellipses(marks: Marks) -> Iterator[Layer]:
    around = np.linspace(0, 2 * np.pi, 4 * ARC)
    half = [np.asarray(marks.column(name), dtype=np.float64)[:, None] / 2 for name in ("width", "height")]
    x, y = marks.at("x", "x")[:, None], marks.at("y", "y")[:, None]
    yield from _filled(marks, x + half[0] * np.cos(around), y + half[1] * np.sin(around))


def _texts(marks: Marks) -> Iterator[Layer]:
    words = [str(each) for each in marks.column("text")]
    size = re.match(r"[\d.]+", str(marks.one("text_font_size", "12px")))
    at: dict[str, Any] = {"x": marks.at("x", "x").tolist(), "y": marks.at("y", "y").tolist()}
    style = {"align": marks.one("text_align", "left"), "size": float(size[0]) if size else 12.0}
    yield Layer("words", text=words, colour=marks.one("text_color"), **at, **style)


def _circles(marks: Marks) -> Iterator[Layer]:
    around = np.linspace(0, 2 * np.pi, 4 * ARC)
    radius = np.asarray(marks.column("radius"), dtype=np.float64)[:, None]
    yield from _filled(
        marks,
        marks.at("x", "x")[:, None] + radius * np.cos(around),
        marks.at("y", "y")[:, None] + radius * np.sin(around),
    )


def _wedges(marks: Marks) -> Iterator[Layer]:
    start, end = (np.asarray(marks.column(name), dtype=np.float64)[:, None] for name in ("start_angle", "end_angle"))
    inner, outer = (
        np.asarray(marks.column(name), dtype=np.float64)[:, None] for name in ("inner_radius", "outer_radius")
    )
    angles = start + (end - start) * np.linspace(0, 1, ARC)
    x = np.concatenate([outer * np.cos(angles), (inner * np.cos(angles))[:, ::-1]], axis=1)
    y = np.concatenate([outer * np.sin(angles), (inner * np.sin(angles))[:, ::-1]], axis=1)
    yield from _filled(marks, marks.at("x", "x")[:, None] + x, marks.at("y", "y")[:, None] + y)


def _filled(marks: Marks, x: NDArray[np.float64], y: NDArray[np.float64]) -> Iterator[Layer]:
    """(n, n_corners) polygons, a layer for each colour; outlines where they have one."""
    filled = float(marks.one("fill_alpha", 1) or 0)
    same = len(x) == marks.n
    for colour, those in marks.colours("fill_color") if filled else ():
        chosen = those if same else slice(None)
        yield Layer("shape", {"x": _apart(x[chosen]), "y": _apart(y[chosen])}, fill=colour, alpha=filled)
        if not same:
            break
    line = marks.one("line_color")
    if isinstance(line, str) and line not in marks.data:
        closed = {"x": _apart(np.column_stack([x, x[:, :1]])), "y": _apart(np.column_stack([y, y[:, :1]]))}
        yield Layer("shape", closed, colour=line, width=marks.one("line_width", 1), alpha=marks.one("line_alpha", 1))


def _apart(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, n_corners) to (n * (n_corners + 1),): one after the other, with no number between."""
    return np.column_stack([corners, np.full(len(corners), np.nan)]).ravel()


def _images(marks: Marks) -> Iterator[Layer]:
    mapper = marks.glyph.color_mapper
    turned = marks.y.ends[0] > marks.y.ends[1]
    for number, image in enumerate(marks.data[marks.field("image")]):
        values = np.asarray(image, dtype=np.float64)
        low = float(np.nanmin(values)) if mapper.low is None else float(mapper.low)
        high = float(np.nanmax(values)) if mapper.high is None else float(mapper.high)
        left, bottom, wide, tall = (float(marks.column(name)[number]) for name in ("x", "y", "dw", "dh"))
        yield Layer(
            "image",
            {"image": bytes_of(values if turned else values[::-1], low, high)},
            shape=list(values.shape),
            extent=[left, left + wide, *((bottom + tall, bottom) if turned else (bottom, bottom + tall))],
            scale="sequence",
            bottom=low,
            top=high,
            missing=True,
        )


def _colour_bar(bar: ColorBar, beside: Panel, row: int) -> Panel:
    """The scale of an image as a panel of its own."""
    low, high = float(bar.color_mapper.low or 0), float(bar.color_mapper.high or 1)
    steps = Layer(
        "image",
        {"image": np.arange(254, -1, -1, dtype=np.uint8)},
        shape=[255, 1],
        extent=[0, 1, low, high],
        scale="sequence",
        bottom=low,
        top=high,
        missing=True,
    )
    top, _, bottom, _ = beside.margins
    y = Axis(low=low, high=high, label=bar.title or "")
    flat = Axis(low=0, high=1, shown=False)
    return Panel(x=flat, y=y, layers=(steps,), row=row, column=1, margins=(top, 30, bottom, 44), grid=False)


def _legend(figure: Plot, legend: Legend, row: int) -> Panel:
    """The names in a legend as a panel of its own."""
    names, colours = list[str](), list[Any]()
    for item in legend.items:
        label, marks = item.label, Marks(figure, item.renderers[0])
        prop = "fill_color" if "fill_color" in marks.glyph.properties() else "line_color"
        if isinstance(label, Field) or (isinstance(label, str) and label in marks.data):
            held = marks.data[label.field if isinstance(label, Field) else label]
            first = {str(name): i for i, name in reversed(list(enumerate(held)))}
            pairs: Mapping[str, Any] = {str(name): marks.column(prop)[first[str(name)]] for name in held}
        else:
            pairs = {str(label.value if isinstance(label, Value) else label): marks.column(prop)[item.index or 0]}
        names += list(pairs)
        colours += list(pairs.values())
    flat = Axis(low=0, high=1, shown=False)
    layer = Layer("legend", names=names, colours=[str(colour) for colour in colours])
    before = figure.min_border_left or 54
    return Panel(x=flat, y=flat, layers=(layer,), row=row, margins=(2, 14, 2, before), grid=False, frame=False)


EDGES = ("left", "right", "bottom", "top")
TRANSLATORS = {
    "Line": _lines,
    "MultiLine": _multi_lines,
    "Step": _steps,
    "VArea": _bands,
    "VAreaStep": _step_areas,
    "Scatter": _points,
    "Segment": _segments,
    "Quad": _boxes,
    "VBar": _bars,
    "HBar": _lying_bars,
    "Rect": _rectangles,
    "Patch": _patches,
    "Patches": _many_patches,
    "Circle": _circles,
    "Ellipse": _ellipses,
    "Text": _texts,
    "AnnularWedge": _wedges,
    "Image": _images,
}
