"""The ranked table of mappings with its pickers: a click on a row selects that very row's latent."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui
from bokeh.models.widgets.tables import NumberFormatter
from numpy.typing import NDArray

from nldisco_core.selection import Selection
from nldisco_explorer.component import bar
from nldisco_explorer.links import PRESET, SEARCH, SORT, SUPPORTED, comparable
from nldisco_explorer.live import HOME, LiveSelection, Place
from nldisco_explorer.presets import PRESETS
from nldisco_explorer.ranking import KEY, latent_of, ranked, row_beside, scored_split, with_best
from nldisco_explorer.readings import ALL_SPLITS, Readings
from nldisco_explorer.style import CARD_CSS, CHIP_SX, TABLE_CSS
from nldisco_explorer.wording import number

__all__ = ["RankedTable"]

WHOLE = "whole variable"
PICKERS = {
    "model": "model",
    "instance": "instance",
    "variable": "variable",
    "condition": "value",
    "split": "split",
    "mapper": "mapper",
}
COMPACT_WHOLE = ("latent", "half", "name", "preferred", "q", "youden", "flags")
COMPACT_UNSCORED = ("latent", "half", "name", "active", "flags")
COMPACT_VALUE = ("latent", "half", "name", "coverage", "specificity", "auroc", "flags")
FIRST = ("latent", "half", "name", "stars", "note")
COMPACT_WIDTHS = {"latent": 56, "half": 44, "q": 62, "youden": 62, "coverage": 70, "specificity": 78, "auroc": 58}
FULL_WIDTHS = {"note": 330}
COMPACT_ROWS, FULL_ROWS = 18, 20
ORDER = (
    "preferred",
    "q",
    "youden",
    "mcc",
    "auroc",
    "coverage",
    "specificity",
    "precision",
    "selectivity",
    "mutual_information",
    "resultant_length",
    "n_active",
    "n_visits",
    "unit",
    "unit_correlation",
    "score",
    "best_control",
    "best_control_score",
    "better_explained_by",
    "chosen",
)
LAST = ("statistic", "null", "null_mean", "effective_shifts")
HIDDEN = (
    "instance",
    "sign",
    "variable",
    "condition",
    "split",
    "label_use",
    "supported",
    "top",
    "copy",
    "kind",
    "flags",
)
UNTESTED = "untested"
FROM_PARQUET = ("model", "instance", "latent", "sign", "variable", "condition", "split")
"""What tells rows of the run's own tables apart; a saved table names it too."""
TITLES = {
    "mutual_information": "information",
    "resultant_length": "resultant",
    "n_active": "active bins of the variable",
    "n_visits": "visits",
    "preferred": "prefers",
    "active": "share active",
    "unit_correlation": "r with unit",
    "n_effective_units": "effective units",
    "cohens_d": "Cohen's d",
    "n_on": "bins on",
    "n_off": "bins off",
    "chosen": "chosen on train",
    "flags": "note",
}


class RankedTable:
    """Pickers and table for one browser session.

    Parameters
    ----------
    compact : show the columns that choose a latent and no more, for a table beside plots
    loaded : whether the browser has drawn its page; a mark that arrives with the page itself is lost, and so are the
        buttons of a table that opens further down, see `mark_row`

    Attributes
    ----------
    panel : what Panel draws
    """

    def __init__(self, reads: Readings, live: LiveSelection, *, compact: bool, loaded: bool) -> None:
        self._reads, self._live, self._compact = reads, live, compact
        self._filling = False
        self._marking, self._marked = loaded, list[int]()
        self._rows, self._filled, self._turned = pd.DataFrame(), tuple[object, ...](), tuple[object, ...]()
        self._pickers = {name: self._picker(label) for name, label in PICKERS.items()}
        self._supported = pmui.Checkbox(label="supported only", value=False, size="small", margin=(2, 0))
        self._supported.param.watch(lambda event: self._set({SUPPORTED: "1" if event.new else None}), "value")
        self._search = pmui.TextInput(
            label="search",
            placeholder="number, value, name or note",
            size="small",
            width=171 if compact else 220,
            margin=0,
            css_classes=["search", f"search-{live.place.page}"],
        )
        self._search.param.watch(lambda event: self._set({SEARCH: event.new.strip() or None}), "value_input")
        self._pins, self._pinned = bar(margin=(6, 0, 0, 0)), dict[tuple[int, int], Any]()
        self._presets: dict[str, Any] = {}
        self._offered_presets = bar(margin=(8, 0, 0, 0))
        self._all = pmui.Button(
            label="Show all latents", size="small", variant="outlined", visible=False, margin=(4, 0)
        )
        self._all.on_click(lambda _: live.select(lasso=None))
        self._count = pn.pane.HTML("", stylesheets=[CARD_CSS], margin=(6, 0, 4, 0), sizing_mode="stretch_width")
        self.table = pn.widgets.Tabulator(
            pd.DataFrame({KEY: [], "latent": []}),
            show_index=False,
            disabled=True,
            selectable=1,
            pagination="remote",
            page_size=COMPACT_ROWS if compact else FULL_ROWS,
            row_height=27,
            hidden_columns=[KEY],
            frozen_columns=[] if compact else ["latent"],
            sizing_mode="stretch_width",
            theme="simple",
            layout="fit_columns" if compact else "fit_data_fill",
            widths=COMPACT_WIDTHS if compact else FULL_WIDTHS,
            stylesheets=[TABLE_CSS],
            margin=0,
        )
        self.table.on_click(self._clicked)
        self.table.param.watch(self._sorted, "sorters")
        self._download = download = pmui.FileDownload(
            callback=self._csv,
            filename="mappings.csv",
            label="Download CSV",
            size="small",
            margin=(8, 0, 0, 0),
        )
        download.variant = "outlined"  # given to the constructor it makes Panel 1.9 warn of a deprecation of its own
        self.panel = pn.Column(
            bar(*self._pickers.values(), self._search, self._supported),
            self._offered_presets,
            self._pins,
            self._count,
            self._all,
            self.table,
            download,
            sizing_mode="stretch_width",
            margin=0,
        )

    def _picker(self, label: str) -> Any:
        if label == "split":
            made = pmui.RadioButtonGroup(options=[], size="small", margin=0)
            made.param.watch(lambda _: self._picked(), "value")
            return made
        made = pmui.Select(label=label, options=[], size="small", width=171 if self._compact else 180, margin=0)
        made.param.watch(lambda _: self._picked(), "value")
        return made

    def _preset(self, name: str) -> Any:
        made = _small_button(name, lambda: self._take_preset(name))
        made.param.update(description=PRESETS[name].says, css_classes=["preset"])
        return made

    def _set(self, settings: dict[str, str | None]) -> None:
        """A person set something of the table itself."""
        place = self._live.place
        if not self._filling:
            self._live.go(replace(place, selection=place.selection.set_to(settings)))

    def _take_preset(self, name: str) -> None:
        """A preset was pressed: it brings its own order; pressed again it is taken back."""
        self._set({PRESET: None if self._live.selection.setting(PRESET) == name else name, SORT: None})

    def _sorted(self, event: Any) -> None:
        """A person sorted by a column."""
        order = ",".join(("-" if each["dir"] == "desc" else "") + each["field"] for each in event.new)
        self._set({SORT: order or None})

    def show(self, place: Place) -> None:
        """Fill pickers and table for a place, and mark the row of its latent."""
        self._filling = True
        try:
            chosen = self._chosen(place)
            if chosen != self._filled:
                self._fill_pickers(place)
                self._fill_table(place)
                self._filled = chosen
            self._show_settings(place.selection)
            self._show_pins(place.selection)
            self._mark(place.selection)
        finally:
            self._filling = False

    def _chosen(self, place: Place) -> tuple[object, ...]:
        """All that the table's rows depend on."""
        selection, mapper = place.selection, place.selection.mapper
        mapped = mapper is not None and self._reads.is_mapped(selection.model, mapper)
        return (
            *(selection.model, selection.instance, selection.variable, selection.split, mapper, selection.condition),
            selection.lasso,
            self._reads.notes.stamp,
            id(self._reads.mapping(selection.model, mapper or "")) if mapped else None,
            *(selection.setting(name) for name in (SUPPORTED, SEARCH, PRESET)),
        )

    def _show_settings(self, selection: Selection) -> None:
        """What is set of the table itself."""
        self._supported.value = selection.setting(SUPPORTED) is not None
        words = selection.setting(SEARCH) or ""
        if self._search.value_input.strip() != words:
            self._search.param.update(value=words, value_input=words)
        for name, button in self._presets.items():
            button.variant = "contained" if name == selection.setting(PRESET) else "outlined"
        columns = (selection.setting(SORT) or "").split(",")
        sorters = [
            {"field": each.removeprefix("-"), "dir": "desc" if each.startswith("-") else "asc"}
            for each in columns
            if each.removeprefix("-") in self.table.value
        ]
        if sorters != self.table.sorters:
            self.table.sorters = sorters

    def _show_pins(self, selection: Selection) -> None:
        """What is pinned in a row, to go back to."""
        if tuple(self._pinned) != selection.pinned:
            self._pinned = {pin: self._pin(*pin) for pin in selection.pinned}
            self._pins[:] = list(self._pinned.values())
        for pin, button in self._pinned.items():
            button.variant = "contained" if pin == (selection.latent, selection.sign) else "outlined"

    def _pin(self, latent: int, sign: int) -> Any:
        made = _small_button(
            f"⚑ {latent}{ {1: '+', -1: '−'}.get(sign, '') }", lambda: self._live.select(latent=latent, sign=sign)
        )
        made.css_classes = ["pin"]
        return made

    def _mark(self, selection: Selection) -> None:
        rows = self._rows
        at = rows.index[(rows["latent"] == selection.latent) & (rows["sign"] == selection.sign)] if len(rows) else []
        self._marked = [int(at[0])] if len(at) else []
        turned, self._turned = self._turned, (selection.latent, selection.sign, self._filled)
        if self._marking and turned == self._turned:
            self.table.selection = self._marked  # sorted by a person, who wants to see what comes first
        elif self._marking:
            self.mark_row()

    def _turn_page(self) -> None:
        """Show the page of the table that holds the marked row."""
        if self._marked and KEY in self.table.value:
            keys = self.table.current_view[KEY].to_numpy()
            at = np.flatnonzero(keys == self.table.value[KEY].iloc[self._marked[0]])
            page = int(at[0]) // self.table.page_size + 1 if len(at) else self.table.page
            if page != self.table.page:
                self.table.page = page

    def mark_row(self) -> None:
        """Turn to the selected row and mark it, and do so from now on."""
        self._marking = True
        self._turn_page()
        self.table.selection = self._marked

    def _fill_pickers(self, place: Place) -> None:
        reads, selection = self._reads, place.selection
        conditions = reads.conditions(selection.model, place.selection.mapper, selection.variable)
        splits = [name for name in ALL_SPLITS if reads.split_mask(name).any()]
        choices: dict[str, tuple[dict[str, Any], Any]] = {
            "model": ({_called(reads, name): name for name in reads.models}, selection.model),
            "instance": ({str(i): i for i in range(reads.space(selection.model).n_instances)}, selection.instance),
            "variable": (_variables(reads, selection.mapper), selection.variable),
            "condition": ({name: name for name in (WHOLE, *conditions)}, place.selection.condition or WHOLE),
            "split": ({name: name for name in splits}, selection.split),
            "mapper": ({name: name for name in reads.mappers}, place.selection.mapper),
        }
        for name, (options, value) in choices.items():
            picker = self._pickers[name]
            picker.visible = name != "mapper" or len(options) > 1
            offers = "groups" if name == "variable" else "options"
            if getattr(picker, offers) != options:
                setattr(picker, offers, options)
            picker.value = value

    def _fill_table(self, place: Place) -> None:
        rows, selection = ranked(self._reads, place.selection), place.selection
        n_rows = len(rows)
        taken = selection.setting(PRESET) or ""
        offered = [name for name in PRESETS if PRESETS[name].fits(rows) and (not self._compact or name == taken)]
        if offered != list(self._presets):
            self._presets = {name: self._preset(name) for name in offered}
            self._offered_presets[:] = list(self._presets.values())
        chosen = PRESETS.get(taken)
        if chosen is not None and chosen.fits(rows):
            rows = chosen.of(rows)
        if selection.setting(SUPPORTED) and "supported" in rows:
            rows = rows[rows["supported"].astype("boolean").fillna(False).astype(bool)].reset_index(drop=True)
        if words := (selection.setting(SEARCH) or "").casefold():
            rows = rows[_holding(rows, words)].reset_index(drop=True)
        self._all.visible = place.selection.lasso is not None
        compact: tuple[str, ...] = COMPACT_WHOLE if place.selection.condition is None else COMPACT_VALUE
        compact = compact if scored_split(self._reads, place.selection) else COMPACT_UNSCORED
        others = [name for name in rows if name not in (KEY, *HIDDEN, *ORDER, *LAST, *FIRST)]
        full = (*FIRST, *ORDER, *others, *LAST)
        columns = [name for name in (compact if self._compact else full) if name in rows]
        shown = rows[[KEY, *columns]]
        if not shown.equals(self.table.value):
            self.table.param.update(
                value=shown,
                titles={name: TITLES.get(name, name.replace("_", " ")) for name in columns},
                formatters={"latent": NumberFormatter(format="0")}  # a name, not an amount: 1004 and not 1,004
                | {
                    name: NumberFormatter(format="0.[0000]", nan_format=UNTESTED)
                    if name in ("q", "p")
                    else NumberFormatter(format="0.[000]", nan_format="–")
                    for name in columns
                    if pd.api.types.is_float_dtype(shown[name])
                },
                text_align={name: "right" for name in columns if pd.api.types.is_numeric_dtype(shown[name])},
                header_tooltips={"q": self._floor(rows)} if "q" in columns else {},
            )
        self._rows = rows
        self._download.filename = _file_name(selection, self._split(selection))
        n_latents = self._reads.space(selection.model).n_latents
        counted = [self._counted(place, len(rows), n_rows, n_latents), self._floor(rows)]
        if selection.condition is not None and "q" not in rows and scored_split(self._reads, selection) is not None:
            counted.append(f"No q: {selection.mapper} tests whole variables, not single values.")
        said = f"<p>{html.escape(' '.join(filter(None, counted)))}</p>"
        if not self._compact and n_rows and selection.mapper is not None:
            notes = self._reads.mapping(selection.model, selection.mapper).notes
            items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
            said += f"<details><summary>How they were tested ({len(notes)})</summary><ul>{items}</ul></details>" * bool(
                notes
            )
        self._count.object = said

    def _counted(self, place: Place, n_shown: int, n_rows: int, n_latents: int) -> str:
        selection = place.selection
        what = "halves" if selection.sign else "latents"
        name = selection.setting(PRESET)
        by = [
            *([f"the preset “{name}”"] if name else []),
            *(["the search"] if selection.setting(SEARCH) else []),
            *(["“supported only”"] if selection.setting(SUPPORTED) else []),
        ]
        hidden = f", {n_rows - n_shown} hidden by {' and '.join(by)}" if n_shown < n_rows else ""
        hidden += "" if selection.lasso is None else ", those caught on the map"
        n_all = n_latents * (2 if selection.sign else 1)
        shown = f"{n_shown} of {n_all} {what} of instance {selection.instance} shown{hidden}."
        split = scored_split(self._reads, selection)
        if split is not None:
            return shown if split == selection.split else f"{shown} Scores are those of the {split} split."
        if not self._reads.is_mapped(selection.model, selection.mapper):
            return f"No mapping was made for this model; add one with `nldisco map`. {shown}"
        which = selection.variable if selection.condition is None else f"{selection.variable} {selection.condition}"
        return f"{selection.mapper} has no scores of {which} on the {selection.split} split. {shown}"

    def _picked(self) -> None:
        """A person chose something; another model or instance has other latents, so its best one is taken."""
        if self._filling:
            return
        place = self._live.place
        chosen = {name: picker.value for name, picker in self._pickers.items()}
        old = place.selection
        new = replace(old, **{name: chosen[name] for name in ("model", "instance", "variable", "split", "mapper")})
        if new.model != old.model:
            new = replace(new, instance=min(new.instance, self._reads.space(new.model).n_instances - 1))
        same_values = (new.variable, new.mapper) == (old.variable, old.mapper) and chosen["condition"] != WHOLE
        new = replace(new, condition=chosen["condition"] if same_values else None)
        if (new.model, new.instance) != (old.model, old.instance):
            beside = [old.against] if old.against and ":" not in old.against else []
            kept = old.against in comparable(self._reads, new.model, new.instance, beside)
            new = replace(new, pinned=(), lasso=None, against=old.against if kept else None)
            new = with_best(self._reads, new)
        self._live.go(replace(place, selection=new))

    def _clicked(self, event: Any) -> None:
        """Select the latent of the clicked row, found by its key: after sorting, row numbers mean nothing."""
        latent, sign = latent_of(int(self.table.value[KEY].iloc[event.row]))
        place = self._live.place
        chosen = replace(place.selection, latent=latent, sign=sign)
        self._live.go(replace(place, selection=chosen, page=place.page if self._compact else HOME))

    def beside(self, selection: Selection, by: int) -> tuple[int, int] | None:
        """Latent and sign so many rows on, as the table is sorted now; None where it is empty."""
        latent, sign = latent_of(self.table.current_view[KEY].to_numpy(np.int64))
        return row_beside(pd.DataFrame({"latent": latent, "sign": sign}), selection, by)

    def _csv(self) -> io.StringIO:
        """The table as shown and sorted, all pages of it, with what tells its rows apart in the run's own tables."""
        shown, selection = self.table.current_view, self._live.selection
        rows = self._rows.set_index(KEY).loc[shown[KEY]].reset_index(drop=True)
        known = {"model": selection.model, "instance": selection.instance, "variable": selection.variable}
        rows = rows.assign(**{name: value for name, value in known.items() if name not in rows})
        rows = rows.assign(split=self._split(selection))
        columns = [name for name in shown if name not in (KEY, "half", *FROM_PARQUET)]
        told = rows[[*(name for name in FROM_PARQUET if name in rows), *columns]]
        return io.StringIO(told.assign(run=selection.run)[["run", *told]].to_csv(index=False))

    def _split(self, selection: Selection) -> str:
        """The split whose scores are shown, the selected one where none are."""
        return scored_split(self._reads, selection) or selection.split

    def _floor(self, rows: pd.DataFrame) -> str:
        """How many of the rows have the smallest q that their relabellings can give; empty where none has."""
        model, mapper = self._live.selection.model, self._live.selection.mapper
        mapped = mapper is not None and self._reads.is_mapped(model, mapper)
        least = self._reads.scored(model, mapper or "").least_p if mapped else None
        if least is None or not {"q", "p"} <= set(rows):
            return ""
        q = rows["q"].where(rows["p"] <= least[0] * (1 + 1e-9))
        smallest = f"q ≤ {number(float(q.min()), 2)}, the least that {least[1]:,} relabellings can give"
        return f"{(q == q.min()).sum()} have {smallest}." if q.notna().any() else ""


def _holding(rows: pd.DataFrame, words: str) -> NDArray[np.bool_]:
    """Rows whose number is, or whose preferred value, name or note holds, what was searched for."""
    found = rows["latent"].astype(str) == words
    for column in ("preferred", "name", "note", "flags", "unit"):
        if column in rows:
            texts = rows[column].astype("string").fillna("").str.casefold()
            found |= texts.str.contains(words, regex=False)
    return np.asarray(found, dtype=bool)


def _called(reads: Readings, model: str) -> str:
    return f"{reads.run.model.provider} (model)" if model == "model" else f"{model} (control)"


def _variables(reads: Readings, mapper: str | None) -> dict[str, list[str]]:
    """Variables under headings, those that the mapper speaks of first."""
    mapped = () if mapper is None else reads.scored("model", mapper).variables
    others = [name for name in reads.mapped_variables(mapper) if name not in mapped]
    return {name: held for name, held in ((f"mapped by {mapper}", list(mapped)), ("not mapped", others)) if held}


def _small_button(label: str, act: Callable[[], None]) -> Any:
    made = pmui.Button(label=label, size="small", variant="outlined", margin=0, sx=CHIP_SX)
    made.on_click(lambda _: act())
    return made


def _file_name(selection: Selection, split: str) -> str:
    """Of the saved table."""
    parts = (selection.run, selection.variable, selection.condition, split)
    return re.sub(r"[^\w.-]+", "-", "_".join(part for part in parts if part)) + ".csv"
