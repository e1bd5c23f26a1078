"""What a tile shows at this moment: its tables, its panels and its words, read from what it gave to Panel."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import panel as pn
from bokeh.models import GlyphRenderer, Plot

from nldisco_explorer.drawing.component import Canvas
from nldisco_explorer.drawing.payload import Drawing, Layer
from nldisco_explorer.export.translated import Marks, translated
from nldisco_explorer.export.words import read_words

__all__ = ["Drawn", "csv_of", "drawn", "parquet_of"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """What a tile shows.

    Attributes
    ----------
    tables : the arrays behind each thing drawn, and tables written out, by name
    drawings : its panels; empty where it holds words alone
    caption : its sentences
    html : of its written parts, as the view wrote them; without the sentences below figures, which are the caption
    """

    tables: Mapping[str, pd.DataFrame]
    drawings: tuple[Drawing, ...]
    caption: str
    html: tuple[str, ...]

    @property
    def table(self) -> pd.DataFrame:
        """All tables below each other; a column ``part`` names each where there are several."""
        if len(self.tables) == 1:
            return next(iter(self.tables.values()))
        named = [frame.assign(part=name) for name, frame in self.tables.items()]
        whole = pd.concat(named, ignore_index=True) if named else pd.DataFrame({"part": []})
        return whole[["part", *(name for name in whole if name != "part")]]


def drawn(panel: Any) -> Drawn:
    """What is drawn in a Panel object: Bokeh figures, canvases, tables and written words, from top to bottom."""
    tables: dict[str, pd.DataFrame] = {}
    drawings, sentences, written = list[Drawing](), list[str](), list[str]()
    figures: list[Plot] = []
    for part in _parts(panel):
        if isinstance(part, pn.pane.Bokeh) and isinstance(part.object, Plot):
            figures.append(part.object)
        elif isinstance(part, Canvas) and part.drawing is not None:
            drawings.append(part.drawing)
            tables |= _canvas_tables(part.drawing)
            sentences.append(part.drawing.summary)
        elif isinstance(part, pn.widgets.Tabulator):
            tables[part.name or "table"] = part.value
            written.append(part.value.to_html(index=False, border=0))
        elif isinstance(part, pn.pane.HTML) and part.visible:
            words = read_words(part.object or "")
            sentences += words.sentences
            written += [part.object] if part.object and (words.tables or not figures) else []
            tables |= {f"table {len(tables) + i}": table for i, table in enumerate(words.tables, 1)}
    if figures:
        tables |= {name: table for figure in figures for name, table in _figure_tables(figure)}
        drawings.insert(0, translated(figures, " ".join(sentences)))
    if not tables and sentences:
        tables["words"] = pd.DataFrame({"sentence": sentences})
    return Drawn(tables=tables, drawings=tuple(drawings), caption=" ".join(sentences), html=tuple(written))


def csv_of(shown: Drawn) -> bytes:
    """All tables as one CSV file."""
    return str(shown.table.to_csv(index=False)).encode()


def parquet_of(shown: Drawn) -> bytes:
    """All tables as one Parquet file; columns that hold more than numbers become text."""
    table, stream = shown.table, io.BytesIO()
    words = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    table = table.assign(**{name: table[name].astype(str).where(table[name].notna()) for name in words})
    table.to_parquet(stream, index=False)
    return stream.getvalue()


def _parts(panel: Any) -> Iterator[Any]:
    """Everything visible that a Panel object is made of, in the order of reading."""
    if not getattr(panel, "visible", True):
        return
    held = getattr(panel, "objects", None)
    if isinstance(held, list):
        for each in held:
            yield from _parts(each)
    else:
        yield panel


def _figure_tables(figure: Plot) -> Iterator[tuple[str, pd.DataFrame]]:
    """One table for each data source of a figure: a row per mark, or per point of a mark that has several."""
    seen: set[str] = set()
    for renderer in figure.renderers:
        if isinstance(renderer, GlyphRenderer) and renderer.data_source.id not in seen:
            source, kind = renderer.data_source, type(renderer.glyph).__name__
            seen.add(source.id)
            table = _cells(Marks(figure, renderer)) if kind == "Image" else _long(source.data)
            yield source.name or kind.lower(), table


def _long(columns: Mapping[str, Any]) -> pd.DataFrame:
    held = {name: list(values) for name, values in columns.items()}
    nested = [name for name, values in held.items() if values and np.ndim(values[0]) > 0]
    if not nested:
        return pd.DataFrame({name: pd.Series(values) for name, values in held.items()})
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in held.items()})
    return frame.assign(mark=range(len(frame))).explode(nested, ignore_index=True).infer_objects()


def _cells(marks: Marks) -> pd.DataFrame:
    """Images as one row per cell, with the middle of each."""
    tables = [pd.DataFrame({"image": [], "x": [], "y": [], "value": []})]
    x0, y0, width, height = (np.asarray(marks.column(name), dtype=np.float64) for name in ("x", "y", "dw", "dh"))
    for number, image in enumerate(map(np.asarray, marks.data[marks.field("image")])):
        n_rows, n_columns = image.shape
        x = x0[number] + (np.arange(n_columns) + 0.5) * width[number] / n_columns
        y = y0[number] + (np.arange(n_rows) + 0.5) * height[number] / n_rows
        xx, yy = np.meshgrid(x, y)
        tables.append(pd.DataFrame({"image": number, "x": xx.ravel(), "y": yy.ravel(), "value": image.ravel()}))
    return tables[0] if len(tables) == 1 else pd.concat(tables[1:], ignore_index=True)


def _canvas_tables(drawing: Drawing) -> dict[str, pd.DataFrame]:
    """One table for each layer that has arrays, named by its panel and itself."""
    found: dict[str, pd.DataFrame] = {}
    for number, panel in enumerate(drawing.panels):
        for layer in panel.layers:
            if layer.arrays:
                base = (
                    f"{panel.title or panel.y.label or f'panel {number + 1}'}: {layer.style.get('name') or layer.kind}"
                )
                same = sum(re.sub(r" \(\d+\)$", "", name) == base for name in found)
                found[f"{base} ({same + 1})" if same else base] = _layer_table(layer)
    return found


def _layer_table(layer: Layer) -> pd.DataFrame:
    if layer.kind == "image":
        return _image_table(layer)
    if "xyz" in layer.arrays:
        xyz = np.reshape(layer.arrays["xyz"], (-1, 3))
        columns = {"x": xyz[:, 0], "y": xyz[:, 1], "z": xyz[:, 2]}
        return pd.DataFrame(columns | {name: values for name, values in layer.arrays.items() if name != "xyz"})
    return pd.DataFrame(dict(layer.arrays))


def _image_table(layer: Layer) -> pd.DataFrame:
    """One row per cell of an image; values in steps of a 254th of the range, as they are sent and drawn."""
    n_rows, n_columns = layer.style["shape"]
    left, right, bottom, top = layer.style["extent"]
    x = left + (np.arange(n_columns) + 0.5) * (right - left) / n_columns
    y = top - (np.arange(n_rows) + 0.5) * (top - bottom) / n_rows
    codes = np.asarray(layer.arrays["image"], dtype=np.float64).ravel()
    codes[(codes == 255) & bool(layer.style.get("missing"))] = np.nan
    if "bottom" in layer.style:
        codes = layer.style["bottom"] + codes / (254 if layer.style.get("missing") else 255) * (
            layer.style["top"] - layer.style["bottom"]
        )
    xx, yy = np.meshgrid(x, y)
    return pd.DataFrame({"x": xx.ravel(), "y": yy.ravel(), "value": codes})
