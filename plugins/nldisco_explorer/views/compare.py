"""The tile that compares two models: matched latents with their null, and a pair's tuning and traces on synced axes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui
from bokeh.models.widgets.tables import NumberFormatter
from scipy import sparse

from nldisco_core.runs import Run, title_of
from nldisco_core.selection import Selection
from nldisco_explorer.drawing.background import beside_in_steps
from nldisco_explorer.drawing.payload import Drawing, Panel
from nldisco_explorer.drawing.tile import CanvasTile
from nldisco_explorer.pair_panels import COLOURS, ranking_panel, tuning_panels
from nldisco_explorer.pairing import LEAST_SHIFTS, N_DRAWS, Matching, Pairing, matching
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.sides import Side, name_of, named_side
from nldisco_explorer.style import TABLE_CSS
from nldisco_explorer.timeline import TIME, session_times
from nldisco_explorer.wording import number

__all__ = ["Matches"]

WINDOW_S = 40.0
ROWS = 10
TOP_ROW, TRACE_ROW, LAST_ROW = 270, 100, 138
ALPHA = 0.05


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
        self._wanted: Matching | None = None
        self._under_way: Matching | None = None
        self._pickers = {
            name: pmui.Select(label=label, options={}, size="small", width=width, margin=(0, 12, 0, 0))
            for name, label, width in (
                ("run", "compared with run", 300),
                ("model", "its model", 190),
                ("instance", "its instance", 110),
            )
        }
        for name, picker in self._pickers.items():
            picker.param.watch(lambda _, name=name: self._chosen(name), "value")
        self.progress = pn.pane.HTML("", margin=0, sizing_mode="stretch_width", visible=False)
        self.table = pn.widgets.Tabulator(
            pd.DataFrame({"latent": [], "partner": [], "similarity": [], "null": [], "p": []}),
            show_index=False,
            disabled=True,
            selectable=1,
            pagination="remote",
            page_size=ROWS,
            text_align="right",
            layout="fit_columns",
            theme="simple",
            stylesheets=[TABLE_CSS],
            formatters={name: NumberFormatter(format="0.000") for name in ("similarity", "null", "p")},
            sizing_mode="stretch_width",
            margin=(8, 0, 0, 0),
        )
        self.table.on_click(lambda event: self._pick(int(self.table.value["latent"].iloc[event.row])))
        super().__init__(*self._pickers.values())
        self.panel.extend([self.progress, self.table])

    def show(self, selection: Selection) -> None:
        """Match the selected model with the one beside it, and draw the selected latent's pair."""
        if self._selection is None or self._selection.latent != selection.latent:
            self._window = None
        self._selection = selection
        other = self._other()
        self.table.visible = other is not None
        if other is None:
            self.say(
                "Nothing to compare with: this run has one model of one instance, and no other run is served.",
                "Serve two runs, `nldisco serve RUN RUN`, or train with controls.",
            )
            return
        self._fill(other)
        self._match(other)

    def done(self, what: Mapping[str, Any]) -> None:
        """A click on a pair selects its latent; the time axis may be moved."""
        if what.get("kind") == "click" and what.get("item") is not None:
            self._pick(int(what["item"]))
        elif what.get("kind") == "range":
            self._window = (float(what["low"]), float(what["high"]))
            self._draw()

    @property
    def _one(self) -> Side:
        assert self._selection is not None
        return Side(self._reads, self._selection.model, self._selection.instance)

    @property
    def _runs(self) -> Mapping[str, Run]:
        return {} if self._explorer is None else self._explorer.runs

    def _other(self) -> Side | None:
        """What the selection names, else the first of all there is; None where there is nothing."""
        assert self._selection is not None
        named = named_side(self._selection.against, self._one, self._runs)
        return named or next((side for name in self._names() for side in self._sides_of(name)), None)

    def _names(self) -> dict[str, str]:
        """Runs that can stand beside by their name, this one first where it has two models or instances."""
        own = self._reads.run.name
        others = {name: title_of(name) for name in self._runs if name != own}
        return ({own: "this run"} if self._sides_of(own) else {}) | others

    def _sides_of(self, run: str) -> list[Side]:
        """What a run has to stand beside; of this one other models before other instances."""
        one = self._one
        reads = self._reads if run == self._reads.run.name else readings(self._runs[run])
        found = [Side(reads, model, i) for model in reads.models for i in range(reads.space(model).n_instances)]
        if reads is not self._reads:
            return found
        return sorted((side for side in found if side != one), key=lambda side: side.model == one.model)

    def _fill(self, other: Side) -> None:
        """Set the pickers to a side and what stands in its place."""
        run = other.reads.run.name
        sides = self._sides_of(run)
        models = {f"{side.model} (control)" if side.model != "model" else "model": side.model for side in sides}
        instances = {str(side.instance): side.instance for side in sides if side.model == other.model}
        with self.filling():
            names = {title: name for name, title in self._names().items()}
            self._pickers["run"].param.update(options=names, value=run)
            self._pickers["model"].param.update(options=models, value=other.model)
            self._pickers["instance"].param.update(options=instances, value=other.instance)

    def _chosen(self, what: str) -> None:
        """A person chose a run, a model or an instance: of another run its model, of another model its first."""
        if self._filling or self._selection is None:
            return
        wanted = {name: picker.value for name, picker in self._pickers.items()}
        sides = self._sides_of(str(wanted["run"]))
        if what != "run":
            sides = [side for side in sides if side.model == wanted["model"]]
        if what == "instance":
            sides = [side for side in sides if side.instance == wanted["instance"]]
        self.select(against=name_of(sides[0]))

    def _match(self, other: Side) -> None:
        """Draw the pairs if they are known; else find them beside the server's own thread."""
        assert self._selection is not None
        wanted = matching(self._one, other, self._selection.split)
        if wanted is not self._wanted:
            self._window, self._found, self.progress.visible = None, None, False
        self._wanted = wanted
        if wanted.found is None:
            self.table.visible = False
            self.say("Latents are being matched …")
        else:
            self._found = None
            self._take(wanted, wanted.found)
        if wanted is not self._under_way and (wanted.found is None or not wanted.found.is_whole):
            self._under_way = wanted
            beside_in_steps(
                lambda: self._steps(wanted),
                lambda found: self._take(wanted, found),
                lambda why: self._failed(wanted, why),
            )

    def _steps(self, wanted: Matching) -> Iterator[Pairing]:
        """Steps of a matching for as long as it is wanted here."""
        for found in wanted.steps():
            yield found
            if wanted is not self._wanted:
                return

    def _take(self, wanted: Matching, found: Pairing) -> None:
        """Draw the pairs when they are found and again when all matchings by chance are made; say how far those are."""
        if wanted is self._under_way and found.is_whole:
            self._under_way = None
        if wanted is not self._wanted:
            return
        is_new, self._found = self._found is None, found
        n_made = len(found.most_by_chance)
        said = f"{n_made} of {N_DRAWS} matchings by chance are made …"
        self.progress.param.update(object=f'<p role="status">{said}</p>', visible=not found.is_whole)
        if is_new or found.is_whole:
            self.table.visible = True
            self._draw()

    def _failed(self, wanted: Matching, why: BaseException) -> None:
        self._under_way = None
        if wanted is self._wanted:
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
                value=rounded,
                titles={
                    "similarity": self._found.measure,
                    "null": f"{self._found.measure} by chance",
                    "p": "p over all pairs",
                },
            )
        at = np.flatnonzero(rounded["latent"] == self._selection.latent)[:1].tolist()
        if at:  # a row that is not on the page in view cannot be marked
            place = np.flatnonzero(self.table.current_view["latent"] == self._selection.latent)[:1]
            self.table.page = int(place[0]) // ROWS + 1 if len(place) else self.table.page
        self.table.selection = at
        other = self._other()
        assert other is not None
        self.draw(self._drawing(self._selection, self._found, other))

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

    def _summary(self, selection: Selection, found: Pairing, pair: tuple[int, float, float, float] | None) -> str:
        said = [self._matched(selection, found), found.note, *_by_chance(found)]
        if pair is not None:
            said.append(
                f"Latent {selection.latent} (blue) and its partner {int(pair[0])} (orange): "
                f"{found.measure} {number(pair[1])}"
                + (f", {number(pair[2])} by chance; p {number(pair[3], 2)}." if pair[3] == pair[3] else ".")
            )
            said.append("Traces share the axis of time, and each has a scale of its own.")
        else:
            said.append("The selected latent has no partner: it is silent here, or the other model has fewer latents.")
        said.append(
            "Every latent is assigned a partner, which is no evidence by itself, and a slow drift that both share"
        )
        said.append("counts as alike. Click a dot or a row.")
        return " ".join(each for each in said if each)

    def _matched(self, selection: Selection, found: Pairing) -> str:
        """How many, on what, over which bins, and how alike."""
        n_all = self._reads.space(selection.model).n_latents
        of = "shared bins" + ("" if selection.split == "all" else f" of the {selection.split} split")
        every = f", one in {found.every}" if found.every > 1 else ""
        on = f"over {found.n_bins:,} {of}{every}" if len(found.rows) else "of decoder weights"
        return (
            f"{len(found.table)} of {n_all} latents are matched one to one on {found.measure} {on}: "
            f"median {number(float(found.table['similarity'].median()))}."
        )


def _by_chance(found: Pairing) -> list[str]:
    """What matchings by chance came to, once all are made."""
    if not found.is_whole:
        return ["How alike they are by chance is being found."]
    said = [
        f"By chance, in {N_DRAWS} matchings {found.unrelated}, the median is "
        f"{number(float(found.table['null'].median()))} and the most alike pair of all has "
        f"{number(float(found.most_by_chance.max()))}."
    ]
    if found.shifts < LEAST_SHIFTS:
        few = f"{found.shifts:.0f} independent shifts, and a p needs {LEAST_SHIFTS}"
        return [*said, f"These bins allow no more than {few}: none is given."]
    beyond = int((found.table["p"] <= ALPHA).sum())
    least = f"p {number(1 / (N_DRAWS + 1), 2)}, for all pairs together"
    return [*said, f"{beyond} pairs are more alike than the most alike pair of each of these matchings ({least})."]
