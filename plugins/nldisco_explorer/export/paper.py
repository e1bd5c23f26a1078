"""Drawings as PNG and SVG files: the arrays on the screen, drawn once more for paper, with caption and link."""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path
from numpy.typing import NDArray

from nldisco_explorer.drawing.payload import KEY_GAP, KEY_WIDTH, Axis, Drawing, Layer, Panel
from nldisco_explorer.drawing.themes import CANVAS_THEMES
from nldisco_explorer.export.layout import LEGEND_LINE, boxes_of, grown, height_of, legend_flow

__all__ = ["figure_of", "image_of"]

THEME: dict[str, Any] = CANVAS_THEMES["light"]
DPI = 96  # of a screen: a pixel of the drawing is a pixel of the figure
SCALE = 2.0
TITLE, LINE = 34, 15
MISSING = to_rgba(THEME["neutral"], 40 / 255)


def image_of(
    drawings: Sequence[Drawing], kind: Literal["png", "svg"], *, title: str, caption: str, link: str, width: int = 760
) -> bytes:
    """A PNG or SVG file of drawings, one below the other.

    Parameters
    ----------
    title, caption, link : written above and below; the link is kept as the file's source, too
    width : px
    """
    made = figure_of(drawings, title=title, caption=caption, link=link, width=width)
    stream = io.BytesIO()
    kept: dict[str, Any] = {"Title": title, "Description": f"{caption} {link}".strip()}
    if kind == "svg":
        kept |= {"Source": link or None, "Date": None, "Creator": None}
    with mpl.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "nldisco"}
    ):  # text stays text, and the same file each time
        made.savefig(stream, format=kind, dpi=DPI * (SCALE if kind == "png" else 1), metadata=kept)
    return stream.getvalue()


def figure_of(drawings: Sequence[Drawing], *, title: str, caption: str, link: str, width: int = 760) -> Figure:
    """A figure of drawings, one below the other, laid out as on the screen.

    Parameters
    ----------
    width : px
    """
    below = [*textwrap.wrap(caption, max(int(width / 6.2), 20)), *textwrap.wrap(link, max(int(width / 5.6), 20))]
    heights = [height_of(drawing, width) for drawing in drawings]
    height = TITLE + sum(heights) + LINE * len(below) + 14
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=THEME["ground"])
    FigureCanvasAgg(figure)
    _write(figure, title, 12, height - 12, height, size=14, weight="bold", colour=THEME["text"])
    top = float(TITLE)
    for drawing, taken in zip(drawings, heights, strict=True):
        for panel, box in zip(drawing.panels, boxes_of(drawing, width), strict=True):
            _panel(figure, panel, (box[0], top + box[1], box[2], box[3]), (width, height), drawing.turn)
        top += taken
    for i, line in enumerate(below):
        _write(figure, line, 12, height - top - 6 - LINE * i, height, size=11, colour=THEME["muted"])
    return figure


def _write(figure: Figure, words: str, x: float, y: float, height: float, **style: Any) -> None:
    """Words with their upper left corner at a place counted from below (px)."""
    size, colour = style.pop("size") * 0.75, style.pop("colour")
    across = x / (figure.get_figwidth() * DPI)
    figure.text(across, y / height, words, fontsize=size, color=colour, va="top", parse_math=False, **style)


def _panel(
    figure: Figure,
    panel: Panel,
    box: tuple[float, float, float, float],
    page: tuple[float, float],
    turn: tuple[float, float],
) -> None:
    (left, top, wide, tall), (width, height) = box, page
    axes = figure.add_axes((left / width, 1 - (top + tall) / height, wide / width, tall / height), facecolor="none")
    x, y = (panel.x.low, panel.x.high), (panel.y.low, panel.y.high)
    if panel.equal:
        unit = max(abs(x[1] - x[0]) / wide, abs(y[1] - y[0]) / tall) or 1.0
        x, y = grown(x, unit * wide), grown(y, unit * tall)
    axes.set_xlim(*x) if x[0] != x[1] else axes.set_xlim(x[0] - 0.5, x[0] + 0.5)
    axes.set_ylim(*y) if y[0] != y[1] else axes.set_ylim(y[0] - 0.5, y[0] + 0.5)
    axes.set_autoscale_on(False)
    axes.spines[:].set_visible(panel.frame and not panel.grid)
    axes.spines[:].set_color(THEME["muted"])
    axes.set_axisbelow(True)
    if panel.grid:
        axes.grid(color=THEME["neutral"], alpha=0.22, linewidth=0.75)
    _side(axes, "x", panel.x, wide, 76, shown=panel.frame and panel.x.shown)
    _side(axes, "y", panel.y, tall, 34, shown=panel.frame and panel.y.shown)
    if panel.title:
        axes.set_title(panel.title, loc="left", fontsize=9.4, fontweight="bold", color=THEME["text"], parse_math=False)
    for order, layer in enumerate(panel.layers):
        style = {"alpha": layer.style.get("alpha"), "zorder": 2 + 0.01 * order}
        LAYERS[layer.kind](axes, _turned(layer, turn) if "xyz" in layer.arrays else layer, style)


def _side(axes: Axes, side: Literal["x", "y"], axis: Axis, pixels: float, apart: float, *, shown: bool) -> None:
    drawn = axes.xaxis if side == "x" else axes.yaxis
    if axis.ticks is not None:
        drawn.set_ticks([at for at, _ in axis.ticks], [words for _, words in axis.ticks])
    else:
        drawn.set_major_locator(mpl.ticker.MaxNLocator(max(int(pixels // apart), 1)))
    axes.tick_params(axis=side, length=0, labelsize=8.6, labelcolor=THEME["muted"], **_labels(side, shown))
    if axis.label:
        drawn.set_label_text(axis.label, fontsize=9, color=THEME["muted"], parse_math=False)


def _labels(side: str, shown: bool) -> dict[str, bool]:
    return {"labelbottom": shown} if side == "x" else {"labelleft": shown}


def _colour(key: Any) -> Any:
    """A colour by its name in the theme, by its number in the palette, by a scale and the place on it, or as it is."""
    if isinstance(key, int):
        return THEME["palette"][key % len(THEME["palette"])]
    name, _, at = key.partition("@") if isinstance(key, str) else ("", "", "")
    if at:
        return to_hex(_scale(name)(float(at)))
    named = THEME.get(key, key)
    parts = re.fullmatch(r"rgba?\(([^)]*)\)", named) if isinstance(named, str) else None
    if parts is None:
        return named
    red, green, blue, *alpha = (float(part) for part in parts[1].split(","))
    return (red / 255, green / 255, blue / 255, *alpha)


def _scale(name: str) -> LinearSegmentedColormap:
    return LinearSegmentedColormap.from_list(name, list(THEME["scales"][name]), N=256)


def _colours(layer: Layer) -> Any:
    """One colour, or one for each item."""
    if "values" not in layer.arrays:
        return _colour(layer.style.get("colour", "activation"))
    values = layer.arrays["values"].astype(int)
    if layer.style.get("scale") == "categories":
        return _categories(layer)[values]
    table = _scale(layer.style["scale"])(values)
    table[(values == 255) & bool(layer.style.get("missing"))] = to_rgba(THEME["neutral"])
    return table


def _categories(layer: Layer) -> NDArray[np.float64]:
    """(256, 4) colour of each category, as ``palette`` in ``panels.js`` has them."""
    keys = [*layer.style.get("colours", ())]
    keys += [*range(len(keys), 255), "neutral"][: 256 - len(keys)]
    return np.array([to_rgba(_colour(key)) for key in keys])


def _line(axes: Axes, layer: Layer, style: dict[str, Any]) -> None:
    dash = layer.style.get("dash")
    axes.plot(
        layer.arrays["x"],
        layer.arrays["y"],
        color=_colour(layer.style["colour"]),
        linewidth=0.75 * layer.style.get("width", 1.75),
        drawstyle="steps-post" if layer.style.get("step") else "default",
        linestyle=(0, [each * 0.75 for each in dash]) if dash else "-",
        **style,
    )


def _area(axes: Axes, layer: Layer, style: dict[str, Any]) -> None:
    x, y, base = layer.arrays["x"], layer.arrays["y"], layer.style.get("base", 0)
    step: Literal["post"] | None = "post" if layer.style.get("step") else None
    axes.fill_between(x, y, base, color=_colour(layer.style["colour"]), linewidth=0, step=step, **style)


def _band(axes: Axes, layer: Layer, style: dict[str, Any]) -> None:
    x, low, high = (layer.arrays[name] for name in ("x", "low", "high"))
    axes.fill_between(x, low, high, color=_colour(layer.style["colour"]), linewidth=0, **style)


def _bars(axes: Axes, layer: Layer, style: dict[str, Any]) -> None:
    left, right, top = (layer.arrays[name] for name in ("left", "right", "top"))
    bottom = layer.arrays.get("bottom", np.zeros_like(top))
    height, width = top - bottom, right - left
    axes.bar(left, height, width=width, bottom=bottom, align="edge", color=_colours(layer), linewidth=0, **style)


def _image(axes: Axes, layer: Layer, style: dict[str, Any]) -> None:
    values = layer.arrays["image"].reshape(layer.style["shape"])
    missing = bool(layer.style.get("missing"))
    if layer.style.get("scale") == "categories":
        colours = _categories(layer)[values]
    else:
        colours = _scale(layer.style.get("scale", "ink"))(values / (254 if missing else 255))
    if missing:
        colours[values == 255] = MISSING
    left, right, bottom, top = layer.style["extent"]
    axes.imshow(
        colours, extent=(left, right, bottom, top), aspect="auto", interpolation="nearest", origin="upper", **style
    )


def _points(axes: Axes, layer: Layer, style: dict[str, Any]) -> None:
    radius = layer.arrays["size"] if "size" in layer.arrays else layer.style.get("size", 3)
    edge = THEME["ground"] if layer.style.get("edge") else "none"
    _scatter(axes, layer, layer.arrays["x"], layer.arrays["y"], radius, edge, style)


def _scatter(axes: Axes, layer: Layer, x: Any, y: Any, radius: Any, edge: str, style: dict[str, Any]) -> None:
    area = (2 * 0.75 * np.asarray(radius, dtype=np.float64)) ** 2
    axes.scatter(x, y, s=area, c=_plain(_colours(layer)), edgecolors=edge, linewidths=0.6, **style)


def _plain(colours: Any) -> Any:
    return [colours] if isinstance(colours, str) else colours


def _turned(layer: Layer, turn: tuple[float, float]) -> Layer:
    """Points in space where they are seen on the page, as ``rotation`` in ``panels.js`` turns them.

    Parameters
    ----------
    turn : yaw and pitch (rad)
    """
    x, y, z = np.reshape(layer.arrays["xyz"], (-1, 3)).T
    (cy, sy), (cp, sp) = ((math.cos(angle), math.sin(angle)) for angle in turn)
    across, deep = cy * x + sy * y, cy * y - sy * x
    places = {"x": across, "y": cp * z + sp * deep, "depth": cp * deep - sp * z}
    each = {**{name: array for name, array in layer.arrays.items() if name != "xyz"}, **places}
    order = np.argsort(-places["depth"], kind="stable") if layer.kind == "cloud" else slice(None)  # the nearest on top
    return Layer(layer.kind, {name: array[order] for name, array in each.items()}, **layer.style)


def _cloud(axes: Axes, layer: Layer, style: dict[str, Any]) -> None:
    near = 1 - 0.25 * layer.arrays["depth"]
    radius = (layer.arrays["size"] if "size" in layer.arrays else layer.style.get("size", 3)) * near
    _scatter(axes, layer, layer.arrays["x"], layer.arrays["y"], radius, "none", style)


def _path3(axes: Axes, layer: Layer, style: dict[str, Any]) -> None:
    drawn = {"color": _colour(layer.style["colour"]), "linewidth": 0.75 * layer.style.get("width", 1), **style}
    axes.plot(layer.arrays["x"], layer.arrays["y"], **drawn)


def _shape(axes: Axes, layer: Layer, style: dict[str, Any]) -> None:
    x, y = layer.arrays["x"], layer.arrays["y"]
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        return
    starts = known & ~np.append(False, known[:-1])
    codes = np.where(starts, Path.MOVETO, Path.LINETO)[known]
    fill, line = layer.style.get("fill"), layer.style.get("colour")
    axes.add_patch(
        PathPatch(
            Path(np.column_stack([x, y])[known], codes),
            facecolor="none" if fill is None else _colour(fill),
            edgecolor="none" if line is None else _colour(line),
            linewidth=0 if line is None else 0.75 * layer.style.get("width", 1),
            **style,
        )
    )


def _patch(axes: Axes, layer: Layer, style: dict[str, Any]) -> None:
    _shape(axes, Layer("shape", layer.arrays, fill=layer.style["colour"]), style)


def _ramp(axes: Axes, layer: Layer, style: dict[str, Any]) -> None:
    inset = axes.inset_axes((0, 0.2, min(170 / (axes.bbox.width or 1), 0.5), 0.3))
    inset.imshow(np.linspace(0, 1, 128)[None], cmap=_scale(layer.style["scale"]), aspect="auto")
    inset.set_axis_off()
    words = f"{layer.style['name']}   {layer.style['low']} to {layer.style['high']}"
    axes.text(0, 0.95, words, transform=axes.transAxes, fontsize=9, color=THEME["muted"], va="top", parse_math=False)


def _rings(axes: Axes, layer: Layer, style: dict[str, Any]) -> None:
    area = (2 * 0.75 * layer.style.get("size", 8)) ** 2
    colour = _colour(layer.style["colour"])
    axes.scatter(
        layer.arrays["x"], layer.arrays["y"], s=area, facecolors="none", edgecolors=colour, linewidths=1.5, **style
    )


def _rules(axes: Axes, layer: Layer, style: dict[str, Any]) -> None:
    dash = layer.style.get("dash")
    drawn = {"color": _colour(layer.style["colour"]), "linewidth": 0.75 * layer.style.get("width", 1)} | style
    drawn["linestyle"] = (0, [each * 0.75 for each in dash]) if dash else "-"
    for at in layer.style.get("x", ()):
        axes.axvline(at, **drawn)
    for at in layer.style.get("y", ()):
        axes.axhline(at, **drawn)


def _spans(axes: Axes, layer: Layer, style: dict[str, Any]) -> None:
    for low, high in zip(layer.arrays["low"], layer.arrays["high"], strict=True):
        axes.axvspan(low, high, color=_colour(layer.style["colour"]), linewidth=0, **style)


def _window(axes: Axes, layer: Layer, style: dict[str, Any]) -> None:
    low, high = layer.style["range"]
    axes.axvspan(low, high, facecolor=to_rgba(THEME["behaviour"], 0.16), edgecolor=THEME["behaviour"], linewidth=1.1)


def _arrows(axes: Axes, layer: Layer, style: dict[str, Any]) -> None:
    x, y, u, v = (layer.arrays[name] for name in ("x", "y", "u", "v"))
    tips = np.stack([np.column_stack([x, y]), np.column_stack([x + u, y + v])], axis=1)
    colours = _plain(_colours(layer))
    axes.add_collection(LineCollection(list(tips), colors=colours, linewidths=1.1, **style), autolim=False)
    axes.scatter(x + u, y + v, s=5, c=colours, linewidths=0, **style)


def _words(axes: Axes, layer: Layer, style: dict[str, Any]) -> None:
    for at in zip(layer.style["x"], layer.style["y"], layer.style["text"], strict=True):
        axes.text(
            *at,
            ha=layer.style.get("align", "center"),
            va="center",
            fontsize=0.75 * layer.style.get("size", 11.5),
            color=_colour(layer.style.get("colour", "muted")),
            parse_math=False,
            clip_on=True,
            **style,
        )


def _legend(axes: Axes, layer: Layer, style: dict[str, Any]) -> None:
    wide, tall = axes.bbox.width, axes.bbox.height
    said: dict[str, Any] = {"transform": axes.transAxes, "fontsize": 9, "va": "center", "parse_math": False}
    if title := layer.style.get("title"):
        axes.text(0, 1 - 8 / tall, title, color=THEME["muted"], **said)
    for name, colour, (at, line) in zip(
        layer.style["names"], layer.style["colours"], legend_flow(layer, wide)[0], strict=True
    ):
        middle = 1 - (8 + LEGEND_LINE * line) / tall
        patch = (at / wide, middle - 5 / tall), 11 / wide, 10 / tall
        axes.add_patch(Rectangle(*patch, color=_colour(colour), transform=axes.transAxes, clip_on=False))
        axes.text((at + 16) / wide, middle, str(name), color=THEME["muted"], **said)


def _key(axes: Axes, layer: Layer, style: dict[str, Any]) -> None:
    wide = axes.bbox.width
    inset = axes.inset_axes((1 + KEY_GAP / wide, 0, KEY_WIDTH / wide, 1))
    ends = (0, 1, layer.style["bottom"], layer.style["top"])
    inset.imshow(np.linspace(1, 0, 128)[:, None], cmap=_scale(layer.style["scale"]), aspect="auto", extent=ends)
    inset.xaxis.set_visible(False)
    inset.yaxis.tick_right()
    inset.yaxis.set_major_locator(mpl.ticker.MaxNLocator(5))
    inset.tick_params(length=0, labelsize=8.6, labelcolor=THEME["muted"])
    inset.spines[:].set_visible(False)


def _stripes(axes: Axes, layer: Layer, style: dict[str, Any]) -> None:
    names = layer.style.get("names") or [""] * len(layer.style["bounds"])
    for (low, high), colour, name in zip(layer.style["bounds"], layer.style["colours"], names, strict=True):
        across = axes.get_yaxis_transform()
        axes.add_patch(
            Rectangle((-0.02, low), 0.012, high - low, color=_colour(colour), transform=across, clip_on=False)
        )
        axes.text(
            -0.028, (low + high) / 2, name, transform=across, ha="right", va="center", fontsize=8.4, parse_math=False
        )


LAYERS: dict[str, Callable[[Axes, Layer, dict[str, Any]], None]] = {
    "line": _line,
    "area": _area,
    "band": _band,
    "bars": _bars,
    "image": _image,
    "points": _points,
    "cloud": _cloud,
    "path3": _path3,
    "shape": _shape,
    "patch": _patch,
    "ramp": _ramp,
    "rings": _rings,
    "rules": _rules,
    "spans": _spans,
    "window": _window,
    "arrows": _arrows,
    "words": _words,
    "legend": _legend,
    "key": _key,
    "stripes": _stripes,
}
