"""What a canvas shows: panels of axes and layers, packed with their arrays into one message."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Axis", "Drawing", "Layer", "Panel", "around", "bytes_of", "unpacked"]

KEY_GAP, KEY_WIDTH = 12, 13
"""Room between a frame and the colours of a ``key`` right of it, and their width (px)."""

FIRST_TURN = (0.5, 0.8)
"""Yaw and pitch (rad) in which points in space are first seen."""

_stamps = count(1)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of a panel.

    Attributes
    ----------
    low, high : range shown; low stands left or below, whichever is larger
    label : written beside it
    hover : said before the value under the pointer, such as ``time``; nothing is said where it is empty
    ticks : place and text of each tick, None for round numbers
    link : axes of one link are panned and zoomed together
    shown : whether ticks are written
    """

    low: float
    high: float
    label: str = ""
    hover: str = ""
    ticks: tuple[tuple[float, str], ...] | None = None
    link: str = ""
    shown: bool = True


class Layer:
    """One thing drawn in a panel.

    Parameters
    ----------
    kind : ``line``, ``area``, ``band``, ``patch``, ``bars``, ``image``, ``points``, ``cloud``, ``path3``, ``shape``,
        ``rings``, ``rules``, ``spans``, ``window``, ``arrows``, ``words``, ``legend``, ``ramp``, ``key`` or
        ``stripes``, as ``panels.js`` draws it
    arrays : by the name that kind reads; whole numbers of eight bits are sent as they are, all others as float32
    style : colours and what else that kind reads, plain values only
    """

    def __init__(self, kind: str, arrays: Mapping[str, ArrayLike] | None = None, **style: Any) -> None:
        self.kind = kind
        self.arrays = MappingProxyType({name: _sent(array) for name, array in (arrays or {}).items()})
        self.style = MappingProxyType(style)


def _sent(array: ArrayLike) -> NDArray[Any]:
    values = np.asarray(array)
    return np.ascontiguousarray(values, dtype=np.uint8 if values.dtype in (np.uint8, np.bool_) else np.float32)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One frame with its layers, the first of them at the bottom.

    Attributes
    ----------
    id : what it is called when a person does something on it
    row, column, span : its place in the grid of the drawing
    margins : room above, right, below and left of the frame (px)
    equal : whether a unit is as long on both axes
    hug : whether the frame of such a panel keeps to its ranges, in the middle of its room; else its ranges grow
    drag : what dragging does: ``pan``, ``lasso``, ``turn`` or nothing
    click : whether clicks are told
    strip : the link whose window a press in this panel moves, empty for none
    """

    x: Axis
    y: Axis
    layers: tuple[Layer, ...]
    id: str = ""
    title: str = ""
    row: int = 0
    column: int = 0
    span: int = 1
    margins: tuple[float, float, float, float] = (8, 12, 40, 54)
    equal: bool = False
    hug: bool = False
    grid: bool = True
    frame: bool = True
    drag: str = ""
    click: bool = False
    strip: str = ""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """All panels of one canvas.

    Attributes
    ----------
    summary : one or two sentences that say what is seen, also to those who do not see it
    rows : height of each row (px), None for that of the legend in it
    columns : relative width of each column
    least_column : columns narrower than this are continued below (px)
    turn : yaw and pitch of points in space (rad)
    limits : by link the least and the greatest value, and the shortest range, that panning and zooming reach
    """

    panels: tuple[Panel, ...]
    summary: str
    rows: Sequence[float | None] = (300,)
    columns: Sequence[float] = (1,)
    least_column: float = 0
    turn: tuple[float, float] = FIRST_TURN
    limits: Mapping[str, tuple[float, float, float]] = field(default_factory=lambda: MappingProxyType({}))

    @cached_property
    def packed(self) -> bytes:
        """Length of the header, the header as JSON, then the arrays, each at a multiple of four bytes."""
        arrays: list[NDArray[Any]] = []
        panels = [_panel(panel, arrays) for panel in self.panels]
        places, offset = [], 0
        for array in arrays:
            places.append(offset)
            offset += array.nbytes + -array.nbytes % 4
        header = {
            "stamp": next(_stamps),
            "summary": self.summary,
            "rows": list(self.rows),
            "columns": list(self.columns),
            "least_column": self.least_column,
            "turn": list(self.turn),
            "limits": {link: list(limits) for link, limits in self.limits.items()},
            "panels": panels,
            "arrays": [
                ["u1" if a.dtype == np.uint8 else "f4", at, a.size] for a, at in zip(arrays, places, strict=True)
            ],
        }
        return _joined(header, arrays)


def _panel(panel: Panel, arrays: list[NDArray[Any]]) -> dict[str, Any]:
    layers = []
    for layer in panel.layers:
        layers.append(
            {
                "kind": layer.kind,
                **layer.style,
                "arrays": {name: len(arrays) + i for i, name in enumerate(layer.arrays)},
            }
        )
        arrays.extend(layer.arrays.values())
    return {**vars(panel), "x": vars(panel.x), "y": vars(panel.y), "layers": layers}


def _joined(header: dict[str, Any], arrays: list[NDArray[Any]]) -> bytes:
    """Places of arrays are counted from the end of the header until its length is known."""
    text = _dumped(header)
    room = len(text) + 12 * len(arrays)
    start = 4 + room + -room % 4
    header["arrays"] = [[kind, start + at, size] for kind, at, size in header["arrays"]]
    padded = _dumped(header).ljust(start - 4)
    body = b"".join(array.tobytes() + bytes(-array.nbytes % 4) for array in arrays)
    return struct.pack("<I", len(padded)) + padded + body


def _dumped(header: dict[str, Any]) -> bytes:
    return json.dumps(header, ensure_ascii=False, allow_nan=False, default=_plain, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else list(value)


def unpacked(data: bytes) -> dict[str, Any]:
    """The header of a packed drawing, with the arrays themselves in the place of their numbers."""
    (length,) = struct.unpack_from("<I", data)
    header: dict[str, Any] = json.loads(data[4 : 4 + length])
    arrays = [np.frombuffer(data, dtype=kind, count=size, offset=at) for kind, at, size in header.pop("arrays")]
    for panel in header["panels"]:
        for layer in panel["layers"]:
            layer["arrays"] = {name: arrays[number] for name, number in layer["arrays"].items()}
    return header


def bytes_of(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Values from `low` to `high` as 0 to 254, beyond them the nearest; 255 where a value is not a number."""
    span = high - low if high > low else 1.0
    scaled = np.clip((np.asarray(values, dtype=np.float32) - low) * (254 / span), 0, 254)
    return np.where(np.isnan(scaled), 255, np.rint(scaled)).astype(np.uint8)


def around(values: NDArray[Any], *, share: float = 0.06, include: float | None = None) -> tuple[float, float]:
    """A range that holds all values, and `include`, with a margin; from -1 to 1 around what does not vary."""
    finite = np.asarray(values)[np.isfinite(values)]
    low = float(min(finite.min(initial=np.inf), np.inf if include is None else include))
    high = float(max(finite.max(initial=-np.inf), -np.inf if include is None else include))
    if not np.isfinite([low, high]).all():
        return -1.0, 1.0
    if low == high:
        return (low - 1.0, high + 1.0) if include is None or include != low else (low, low + 1.0)
    pad = share * (high - low)
    return low - (0.0 if low == include else pad), high + (0.0 if high == include else pad)
