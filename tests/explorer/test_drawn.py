"""Export of what is drawn: every first-party view, and every mark and layer."""

from __future__ import annotations

import io
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import panel as pn
import pytest
from bokeh.models import ColumnDataSource, FactorRange, LinearColorMapper, Range1d, Span
from bokeh.plotting import figure
from nldisco_explorer.drawing.component import SCRIPT
from nldisco_explorer.drawing.payload import Drawing, unpacked
from nldisco_explorer.export import paper
from nldisco_explorer.export.drawn import Drawn, csv_of, drawn, parquet_of
from nldisco_explorer.export.paper import figure_of, image_of
from nldisco_explorer.export.saver import KINDS, saved
from nldisco_explorer.export.translated import NotTranslated, translated
from nldisco_explorer.export.words import read_words
from nldisco_explorer.host import Offered, Tile
from nldisco_explorer.links import query_of, start_place
from nldisco_explorer.readings import readings
from PIL import Image

from nldisco_core.errors import NLDiscoError
from nldisco_core.files import write_mapping
from nldisco_core.plugins import make, registry
from nldisco_core.providers import Provider
from nldisco_core.runs import Run
from nldisco_core.selection import Selection

# Bokeh 3.9 calls pandas in a way that pandas 3.1 has deprecated; it is not ours to change.
write_run: Callable[..., Run] = runpy.run_path(str(Path(__file__).with_name("written_run.py")))["write_run"]
OWN_VIEWS = [listed for listed in registry().providers("view") if listed.plugin.name in ("explorer", "spatial")]
SOURCE = {
    "x": [1.0, 2.0, 3.0],
    "y": [2.0, 4.0, 8.0],
    "low": [1.0, 1.0, 1.0],
    "colour": ["#ff0000", "#00ff00", "#ff0000"],
}


def shown(run: Run, name: str) -> tuple[Tile, Selection]:
    """A tile as its host makes it, at the place where an explorer starts."""
    place = start_place(readings(run))
    explorer: Any = SimpleNamespace(
        runs={run.name: run}, link=f"http://lab/{query_of(place)}", may_write=True, visitor="", select=lambda **_: None
    )
    listed = next(listed for listed in OWN_VIEWS if listed.name == name)
    tile = Tile(Offered(listed), run, explorer)
    tile.show(place.selection)
    return tile, place.selection


@pytest.fixture(scope="module")
def mapped_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of every mapper that a tile wants."""
    run = write_run(tmp_path_factory.mktemp("mapped") / "2026-03-01T10-22-05_mapped_matryoshka-sae_7f3e")
    settings = {"spatial": {"n_shifts": 0, "n_pixels": 12}, "decoding": {"n_shifts": 1, "few": [1, 2]}}
    for name in settings:
        folder = run.folder / "mappings" / name
        folder.mkdir()
        write_mapping(folder, make("mapper", name, settings[name]).map(run.latents, run.binned, seed=0))
    return Run(run.folder)


def plain(**options: Any) -> Any:
    return figure(height=200, x_range=Range1d(0, 4), y_range=Range1d(0, 10), **options)


@pytest.mark.parametrize("name", [listed.name for listed in OWN_VIEWS])
def test_every_first_party_view_can_be_saved_in_every_way_it_allows(name: str, mapped_run: Run, reach_run: Run) -> None:
    tile, selection = shown(mapped_run, name)
    if tile.state == "absent":
        tile, selection = shown(reach_run, name)
    if not tile.offered.exports:
        pytest.skip("has a download of its own")
    assert tile.state == "shown", tile.reason
    what = drawn(tile._live.panel)  # type: ignore[union-attr]  # it is shown
    assert what.tables
    read = pd.read_csv(io.BytesIO(csv_of(what)))
    assert len(read) == len(what.table) == len(pd.read_parquet(io.BytesIO(parquet_of(what))))
    has_figure = any(drawing.panels for drawing in what.drawings)
    for kind in ("png", "svg"):
        if has_figure:
            file = tile.save(kind, selection)
            assert file.content[:4] == (b"\x89PNG" if kind == "png" else b"<?xm")
        else:
            with pytest.raises(NLDiscoError, match="save it as CSV"):
                tile.save(kind, selection)


def test_csv_of_a_curve_holds_the_numbers_that_are_drawn(written_run: Run) -> None:
    tile, _ = shown(written_run, "tuning-curve")
    live: Any = tile._live
    header = unpacked(live.drawing.packed)  # what the browser is sent
    line = next(layer for layer in header["panels"][0]["layers"] if layer["kind"] == "line")
    table = drawn(live.panel).tables["mean activation: mean activation"]
    assert table["x"].tolist() == line["arrays"]["x"].tolist()
    assert table["y"].tolist() == line["arrays"]["y"].tolist()


def test_image_is_saved_as_values_at_places(written_run: Run) -> None:
    tile, _ = shown(written_run, "rate-map")
    live: Any = tile._live
    layer = next(layer for layer in live.drawing.panels[0].layers if layer.kind == "image")
    table = next(table for name, table in drawn(live.panel).tables.items() if name.endswith("mean activation"))
    grid = table.pivot(index="y", columns="x", values="value").sort_index(ascending=False).to_numpy()
    codes = layer.arrays["image"].reshape(layer.style["shape"]).astype(float)
    assert np.array_equal(np.isnan(grid), codes == 255)
    assert np.nanmax(grid) == pytest.approx(layer.style["top"], rel=0.01)


def test_figure_carries_caption_and_link(written_run: Run) -> None:
    tile, selection = shown(written_run, "tuning-curve")
    content = tile.save("svg", selection).content.decode()
    words = " ".join(text for text in ElementTree.fromstring(content).itertext())
    assert f"Tuning curve: Latent {selection.latent}" in words
    assert "20 quantiles" in words
    assert f"latent={selection.latent}" in words


def test_same_drawing_gives_the_same_svg(written_run: Run) -> None:
    tile, selection = shown(written_run, "polar-tuning")
    one, other = (tile.save("svg", selection).content for _ in range(2))
    assert one == other


def test_png_is_as_wide_as_asked_at_twice_the_resolution(written_run: Run) -> None:
    tile, _ = shown(written_run, "condition-bars")
    live: Any = tile._live
    content = image_of([live.drawing], "png", title="t", caption="c", link="", width=500)
    assert Image.open(io.BytesIO(content)).width == 1000


def test_every_layer_that_the_browser_draws_is_drawn_on_paper() -> None:
    body = SCRIPT[SCRIPT.index("const LAYERS = {") : SCRIPT.index("const OUTSIDE")]
    kinds = set(re.findall(r"^  (\w+)\(.*\{$|^  (\w+)\(.*\}.*,$", body, flags=re.MULTILINE))
    names = {one or other for one, other in kinds}
    assert names == set(paper.LAYERS)


MARKS: dict[str, Callable[[Any, ColumnDataSource], Any]] = {
    "line": lambda f, s: f.line("x", "y", source=s),
    "step": lambda f, s: f.step("x", "y", source=s, mode="after"),
    "scatter": lambda f, s: f.scatter("x", "y", source=s, size=10, fill_color="colour"),
    "segment": lambda f, s: f.segment("x", "low", "x", "y", source=s),
    "vbar": lambda f, s: f.vbar(x="x", top="y", width=0.5, source=s, fill_color="colour"),
    "hbar": lambda f, s: f.hbar(y="x", right="y", height=0.5, source=s),
    "quad": lambda f, s: f.quad(left="low", right="x", bottom=0, top="y", source=s),
    "rect": lambda f, s: f.rect("x", "y", width=0.4, height=1, source=s),
    "patch": lambda f, s: f.patch("x", "y", source=s),
    "varea": lambda f, s: f.varea("x", "low", "y", source=s),
    "varea_step": lambda f, s: f.varea_step("x", 0, "y", source=s, step_mode="after"),
    "circle": lambda f, s: f.circle("x", "y", radius=0.4, source=s),
    "ellipse": lambda f, s: f.ellipse("x", "y", width=0.4, height=2, source=s),
    "annular_wedge": lambda f, s: f.annular_wedge("x", "y", 0.2, 0.5, 0, "low", source=s),
    "text": lambda f, s: f.text("x", "y", "colour", source=s),
}


@pytest.mark.parametrize("kind", MARKS)
def test_marks_of_bokeh_are_saved(kind: str) -> None:
    made = plain()
    MARKS[kind](made, ColumnDataSource(SOURCE))
    what = drawn(pn.Column(pn.pane.Bokeh(made), pn.pane.HTML("<p>A caption.</p>")))
    assert what.caption == "A caption."
    assert what.table["x"].tolist() == SOURCE["x"]
    painted = np.asarray(
        Image.open(io.BytesIO(image_of(what.drawings, "png", title="", caption="", link=""))).convert("RGB")
    )
    blank = np.asarray(
        Image.open(io.BytesIO(image_of([translated([plain()], "")], "png", title="", caption="", link=""))).convert(
            "RGB"
        )
    )
    assert (painted != blank).any(axis=2).sum() > 60


def test_bars_stand_where_bokeh_has_them() -> None:
    made = plain()
    made.vbar(x="x", top="y", width=0.5, source=ColumnDataSource(SOURCE), fill_color="colour")
    red, green = translated([made], "").panels[0].layers[:2]
    assert (red.style["fill"], green.style["fill"]) == ("#ff0000", "#00ff00")
    assert red.arrays["x"][:4].tolist() == [0.75, 1.25, 1.25, 0.75]
    assert green.arrays["y"][:4].tolist() == [0, 0, 4, 4]


def test_range_that_follows_the_data_holds_them_all() -> None:
    made = figure(height=200)
    made.scatter("x", "y", source=ColumnDataSource(SOURCE))
    (panel,) = translated([made], "").panels
    assert (panel.x.low, panel.x.high) == pytest.approx((0.8, 3.2))
    assert (panel.y.low, panel.y.high) == pytest.approx((1.4, 8.6))


def test_logarithmic_axis_keeps_places_and_names_of_ticks() -> None:
    made = figure(height=200, y_axis_type="log", x_range=Range1d(0, 4), y_range=Range1d(1, 1000))
    made.line("x", "y", source=ColumnDataSource({"x": [1, 2], "y": [10, 100]}))
    (panel,) = translated([made], "").panels
    assert panel.layers[0].arrays["y"].tolist() == [1, 2]
    assert panel.y.ticks is not None
    assert (2.0, "100") in panel.y.ticks
    assert drawn(pn.pane.Bokeh(made)).table["y"].tolist() == [10, 100]


def test_factors_stand_in_their_slots() -> None:
    made = figure(height=200, x_range=FactorRange(factors=["off", "on"]), y_range=Range1d(0, 3))
    made.vbar(x="label", top="mean", width=1, source=ColumnDataSource({"label": ["on", "off"], "mean": [1, 2]}))
    (panel,) = translated([made], "").panels
    assert panel.x.ticks == ((0.5, "off"), (1.5, "on"))
    assert panel.layers[0].arrays["x"][:2].tolist() == [1, 2]


@pytest.mark.parametrize("turned", [False, True])
def test_image_of_bokeh_is_the_right_way_up(turned: bool) -> None:
    made = figure(height=200, x_range=Range1d(0, 3), y_range=Range1d(2, 0) if turned else Range1d(0, 2))
    mapper = LinearColorMapper(palette=["#000000", "#ffffff"], low=0, high=1)
    image = np.array([[1.0, 0, 0], [0, 0, 0]])  # the first row is drawn where y is least
    made.image("image", x=0, y=0, dw=3, dh=2, source=ColumnDataSource({"image": [image]}), color_mapper=mapper)
    table = drawn(pn.pane.Bokeh(made)).table
    assert table.loc[table["value"] == 1, ["x", "y"]].to_numpy().tolist() == [[0.5, 0.5]]
    painted = figure_of([translated([made], "")], title="", caption="", link="", width=400)
    axes = painted.axes[0]
    (drawn_image,) = axes.get_images()
    left, right, bottom, top = drawn_image.get_extent()
    brightest = np.asarray(drawn_image.get_array())[..., :3].sum(axis=2).argmax()
    row = brightest // 3
    y = top - (row + 0.5) * (top - bottom) / 2
    assert y == pytest.approx(0.5)
    assert (left, right) == (0, 3)


def test_span_and_legend_are_kept() -> None:
    made = plain()
    made.scatter(
        "x", "y", source=ColumnDataSource(SOURCE | {"kind": ["a", "b", "a"]}), fill_color="colour", legend_group="kind"
    )
    made.renderers.append(Span(location=2, dimension="height", line_color="#123456"))
    legend, panel = translated([made], "").panels
    assert legend.layers[0].style["names"] == ["a", "b"]
    assert legend.layers[0].style["colours"] == ["#ff0000", "#00ff00"]
    assert panel.layers[-1].kind == "rules"


def test_mark_that_cannot_be_saved_says_which() -> None:
    made = plain()
    made.hex_tile(q=[0], r=[0])
    with pytest.raises(NotTranslated, match="HexTile"):
        translated([made], "")


def test_words_become_tables() -> None:
    words = read_words(
        "<p>Said &lt;b&gt;.</p><dl><dt>Units</dt><dd>15</dd></dl>"
        "<table><tr><th>model</th><th>R²</th></tr><tr><td>pca</td><td>0.9</td></tr></table>"
    )
    assert words.sentences == ["Said <b>."]
    assert words.tables[0].to_dict("list") == {"model": ["pca"], "R²": ["0.9"]}
    assert words.tables[1].to_numpy().tolist() == [["Units", "15"]]


def test_hidden_parts_are_not_saved() -> None:
    made = plain()
    made.line([1], [1])
    what = drawn(pn.Column(pn.pane.Bokeh(made, visible=False), pn.pane.HTML("<p>Seen.</p>")))
    assert what.drawings == ()
    assert list(what.tables) == ["words"]


def test_unknown_kind_of_file_is_refused() -> None:
    nothing = Drawn(tables={}, drawings=(), caption="", html=())
    with pytest.raises(NLDiscoError, match="no kind of file"):
        saved(nothing, "exe", name="n", title="t", link="", wide=False)
    for kind in KINDS:
        with pytest.raises(NLDiscoError, match=r"nothing now|no figure"):
            saved(nothing, kind, name="n", title="t", link="", wide=False)


class Foreign:
    """A view of somebody else, without a word about export."""

    title: ClassVar[str] = "Foreign"
    page: ClassVar[str] = "latent"
    needs: ClassVar[frozenset[str]] = frozenset()

    def build(self, run: Run) -> Any:
        made = plain()
        made.line("x", "y", source=ColumnDataSource(SOURCE, name="curve"))
        return SimpleNamespace(panel=pn.pane.Bokeh(made), show=lambda selection: None)


def test_view_of_a_plugin_is_saved_without_any_code_of_its_own(
    written_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "foreign_views", SimpleNamespace(Foreign=Foreign))
    provider = Provider(name="foreign", target="foreign_views:Foreign", summary="A view of this test.")
    listed: Any = SimpleNamespace(name=provider.name, make=Foreign)
    explorer: Any = SimpleNamespace(link="")
    tile = Tile(Offered(listed), written_run, explorer)
    selection = start_place(readings(written_run)).selection
    tile.show(selection)
    file = tile.save("csv", selection)
    assert file.name.endswith(f"foreign-model-0-{selection.latent}.csv")
    assert pd.read_csv(io.BytesIO(file.content))["y"].tolist() == SOURCE["y"]
    assert tile.save("png", selection).content.startswith(b"\x89PNG")


def test_paper_does_not_change_how_other_figures_look(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    image_of([Drawing(panels=(), summary="", rows=(10,))], "svg", title="$x$", caption="$y$", link="")
    assert dict(mpl.rcParams) == before
