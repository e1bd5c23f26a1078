"""The tile that compares two models: matched latents with their null, and a pair's tuning and traces on synced axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui
from bokeh.models.widgets.tables import NumberFormatter
from scipy import sparse

from nldisco_core.runs import Run, title_of
from nldisco_core.selection import Selection
from nldisco_explorer.drawing.background import beside
from nldisco_explorer.drawing.payload import Drawing, Panel
from nldisco_explorer.drawing.tile import CanvasTile
from nldisco_explorer.pair_panels import COLOURS, ranking_panel, tuning_panels
from nldisco_explorer.pairing import Pairing, Side, pairing
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.style import TABLE_CSS
from nldisco_explorer.timeline import TIME, session_times
from nldisco_explorer.wording import number

__all__ = ["Matches"]

WINDOW_S = 40.0
ROWS = 10
TOP_ROW, TRACE_ROW, LAST_ROW = 270, 100, 138

_kept: WeakKeyDictionary[Readings, dict[tuple[Any, ...], Pairing]] = WeakKeyDictionary()


class Matches:
    """View: latents matched with those of a control, of another instance, or of another run."""

    title: ClassVar[str] = "Matched latents"
    page: ClassVar[str] = "compare"
    needs: ClassVar[frozenset[str]] = frozenset()
    wide: ClassVar[bool] = True

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _CompareTile(readings(run))


class _CompareTile(CanvasTile):
    def __init__(self, reads: Readings) -> None:
        self._reads = reads
        self._selection: Selection | None = None
        self._found: Pairing | None = None
        self._window: tuple[float, float] | None = None
        self._drawn: tuple[Any, ...] = ()
        self._wanted: tuple[Any, ...] = ()
        self._beside = pmui.Select(label="compared with", options={}, size="small", width=430, margin=0)
        self._beside.param.watch(lambda event: self._chosen(event.new), "value")
        self.table = pn.widgets.Tabulator(
            pd.DataFrame({"latent": [], "partner": [], "similarity": [], "null": []}),
            show_index=False,
            disabled=True,
            selectable=1,
            pagination="remote",
            page_size=ROWS,
            text_align="right",
            layout="fit_columns",
            theme="simple",
            stylesheets=[TABLE_CSS],
            formatters={name: NumberFormatter(format="0.000") for name in ("similarity", "null")},
            sizing_mode="stretch_width",
            margin=(8, 0, 0, 0),
        )
        self.table.on_click(lambda event: self._pick(int(self.table.value["latent"].iloc[event.row])))
        super().__init__(self._beside)
        self.panel.append(self.table)

    def show(self, selection: Selection) -> None:
        """Match the selected model with the one beside it, and draw the selected latent's pair."""
        if self._selection is None or self._selection.latent != selection.latent:
            self._window = None
        self._selection = selection
        options = self._options(selection)
        with self.filling():
            if options != self._beside.options:
                self._beside.param.update(options=options, value=None if not options else next(iter(options.values())))
            if selection.against in options.values():
                self._beside.value = selection.against
        self.table.visible = bool(options)
        if not options:
            self.say(
                "Nothing to compare with: this run has one model of one instance, and no other run is served.",
                "Serve two runs, `nldisco serve RUN RUN`, or train with controls.",
            )
            return
        self._match()

    def done(self, what: Mapping[str, Any]) -> None:
        """A click on a pair selects its latent; the time axis may be moved."""
        if what.get("kind") == "click" and what.get("item") is not None:
            self._pick(int(what["item"]))
        elif what.get("kind") == "range":
            self._window = (float(what["low"]), float(what["high"]))
            self._draw()

    def _options(self, selection: Selection) -> dict[str, str]:
        """What the model can be compared with: other instances, other models of this run, other runs."""
        n_instances = self._reads.space(selection.model).n_instances
        runs = () if self._explorer is None else self._explorer.runs
        return {
            **{
                f"{name} ({'model' if name == 'model' else 'control'} of this run)": f"model:{name}"
                for name in self._reads.models
                if name != selection.model
            },
            **{f"instance {i} of this model": f"instance:{i}" for i in range(n_instances) if i != selection.instance},
            **{f"run {title_of(name)}": name for name in runs if name != self._reads.run.name},
        }

    def _chosen(self, value: str | None) -> None:
        if self._filling or value is None:
            return
        if self._selection is not None and value != self._selection.against and self._explorer is not None:
            self.select(against=value)
        else:
            self._match()

    def _other(self) -> Side:
        assert self._selection is not None
        chosen = str(self._beside.value)
        kind, _, name = chosen.partition(":")
        if not name and self._explorer is not None:
            return Side(readings(self._explorer.runs[chosen]), "model", 0)
        if kind == "instance":
            return Side(self._reads, self._selection.model, int(name))
        return Side(self._reads, name, min(self._selection.instance, self._reads.space(name).n_instances - 1))

    def _match(self) -> None:
        """Draw the pairs if they are known; else find them beside the server's own thread."""
        assert self._selection is not None
        one, other = Side(self._reads, self._selection.model, self._selection.instance), self._other()
        theirs = other.reads.run.folder, other.reads.cache.stamp
        key = (one.model, one.instance, *theirs, other.model, other.instance)
        if key != self._drawn:
            self._window, self._found = None, None
        made, self._wanted = _kept.setdefault(self._reads, {}), key
        if key in made:
            self._take(key, made[key])
            return
        self.table.visible = False
        self.say("Latents are being matched …")
        beside(lambda: pairing(one, other), lambda found: self._take(key, found), self._failed)

    def _take(self, key: tuple[Any, ...], found: Pairing) -> None:
        _kept.setdefault(self._reads, {})[key] = found
        if key == self._wanted:
            self._found, self._drawn, self.table.visible = found, key, True
            self._draw()

    def _failed(self, why: BaseException) -> None:
        self.table.visible = False
        self.say(f"These two cannot be compared: {why}.")

    def _pick(self, latent: int) -> None:
        signed = self._reads.space(self._selection.model).code_kind == "signed" if self._selection else False
        self.select(latent=latent, sign=1 if signed else 0)

    def _draw(self) -> None:
        if self._found is None or self._selection is None:
            return
        rounded = self._found.table.round(4)
        if not rounded.equals(self.table.value):
            self.table.param.update(
                value=rounded, titles={"similarity": self._found.measure, "null": f"{self._found.measure} by chance"}
            )
        at = np.flatnonzero(rounded["latent"] == self._selection.latent)[:1].tolist()
        if at:  # a row that is not on the page in view cannot be marked
            place = np.flatnonzero(self.table.current_view["latent"] == self._selection.latent)[:1]
            self.table.page = int(place[0]) // ROWS + 1 if len(place) else self.table.page
        self.table.selection = at
        self.draw(self._drawing(self._selection, self._found, self._other()))

    def _drawing(self, selection: Selection, found: Pairing, other: Side) -> Drawing:
        pair = found.partner_of(selection.latent)
        panels = [ranking_panel(found, selection.latent)]
        rows: tuple[float, ...] = (TOP_ROW,)
        limits: dict[str, tuple[float, float, float]] = {}
        said = ""
        if pair is not None and len(found.rows):
            matrix = self._pair_matrix(selection, found, other, pair[0])
            tuning, said = tuning_panels(self._reads, selection, matrix, int(pair[0]), found)
            panels += tuning
            traces, limits = self._traces(selection, matrix, int(pair[0]), found)
            panels += traces
            rows = (TOP_ROW, TRACE_ROW, LAST_ROW)
        return Drawing(
            panels=tuple(panels),
            summary=f"{self._summary(selection, found, pair)} {said}".rstrip(),
            rows=rows,
            columns=(1, 1),
            least_column=300,
            limits=limits,
        )

    def _pair_matrix(self, selection: Selection, found: Pairing, other: Side, partner: float) -> sparse.csc_array:
        """(n_bins, 2) this latent and its partner on the bins of this run."""
        here = self._reads.space(selection.model).csc(selection.instance)[:, [selection.latent or 0]]
        there = other.reads.space(other.model).csc(other.instance)[:, [int(partner)]]
        values = np.zeros((self._reads.run.counts.n_bins, 2), dtype=np.float32)
        values[:, 0] = here.toarray()[:, 0]
        values[found.rows, 1] = there.toarray()[found.partner_rows, 0]
        return sparse.csc_array(values)

    def _traces(
        self, selection: Selection, matrix: sparse.csc_array, partner: int, found: Pairing
    ) -> tuple[list[Panel], dict[str, tuple[float, float, float]]]:
        counts = self._reads.run.counts
        values = matrix.toarray()
        busiest = int(found.rows[np.argmax(np.abs(values[found.rows, 0]))])
        time = session_times(self._reads, int(counts.session_of_bin[busiest]))
        middle = float(time.start_s[busiest - time.rows.start])
        low, high = self._window or (middle - WINDOW_S / 2, middle + WINDOW_S / 2)
        width = min(high - low, time.high_s - time.low_s)
        low = float(np.clip(low, time.low_s, time.high_s - width))
        window = (low, low + width)
        here = time.activation(
            values[time.rows, 0], window, name=f"latent {selection.latent}", row=1, colour=COLOURS[0]
        )
        there = time.activation(
            values[time.rows, 1], window, name=f"partner {partner}", row=2, colour=COLOURS[1], last=True
        )
        panels = [replace(each, span=2) for each in (here, there)]
        return panels, {TIME: (time.low_s, time.high_s, 20 * time.bin_s)}

    def _summary(self, selection: Selection, found: Pairing, pair: tuple[float, float, float] | None) -> str:
        table = found.table
        n_all = self._reads.space(selection.model).n_latents
        beyond = int((table["similarity"] > found.most_by_chance).sum())
        on = f"over {len(found.rows)} shared bins" if len(found.rows) else "of decoder weights"
        said = [
            f"{len(table)} of {n_all} latents are matched one to one on {found.measure} {on}:",
            f"median {number(float(table['similarity'].median()))},",
            f"{number(float(table['null'].median()))} when the two are made unrelated;",
            f"{beyond} are more alike than any unrelated pair was.",
            found.note,
        ]
        if pair is not None:
            said.append(
                f"Latent {selection.latent} (blue) and its partner {int(pair[0])} (orange): "
                f"{found.measure} {number(pair[1])}, {number(pair[2])} by chance."
            )
        else:
            said.append("The selected latent has no partner: it is silent here, or the other model has fewer latents.")
        said.append("Every latent is assigned a partner, which is no evidence by itself. Click a dot or a row.")
        return " ".join(each for each in said if each)
