"""The ranked table of mappings with its pickers: a click on a row selects that very row's latent."""

from __future__ import annotations

import html
import io
from dataclasses import replace
from typing import Any

import pandas as pd
import panel as pn
import panel_material_ui as pmui
from bokeh.models.widgets.tables import NumberFormatter

from nldisco_core.selection import Selection
from nldisco_explorer.evidence import OFTEN
from nldisco_explorer.live import LiveSelection, Place
from nldisco_explorer.readings import ALL_SPLITS, Readings
from nldisco_explorer.style import CARD_CSS, TABLE_CSS

__all__ = ["RankedTable", "ranked"]

WHOLE = "whole variable"
KEY = "key"
PICKERS = {
    "model": "model",
    "instance": "instance",
    "variable": "variable",
    "condition": "value",
    "split": "split",
    "mapper": "mapper",
}
COMPACT = (
    "latent",
    "q",
    "mutual_information",
    "resultant_length",
    "auroc",
    "youden",
    "coverage",
    "specificity",
    "note",
)
LAST = ("note", "statistic", "null", "null_mean")
HIDDEN = ("instance", "sign", "variable", "condition", "split", "label_use", "supported")
TITLES = {
    "mutual_information": "information",
    "resultant_length": "resultant",
    "n_active": "active bins",
    "n_visits": "visits",
    "preferred_value": "prefers",
    "cohens_d": "Cohen's d",
    "n_on": "bins on",
    "n_off": "bins off",
}


def ranked(reads: Readings, place: Place) -> pd.DataFrame:
    """Rows of the place's mapping for its model, instance, variable, split and condition, best first.

    A column ``key`` holds each row's position in the whole mapping table; ``note`` says what a reader must know of a latent:
    too little support, dead or active in over half the time, copy of a unit. Scores that no row has are left out.
    """
    selection = place.selection
    if place.mapper is None or not reads.is_mapped(selection.model, place.mapper):
        return pd.DataFrame({KEY: [], "latent": [], "sign": [], "note": []})
    table = reads.mapping(selection.model, place.mapper).table
    chosen = table[
        table["latent"].notna()
        & (table["instance"] == selection.instance)
        & (table["variable"] == selection.variable)
        & (table["split"] == selection.split)
        & (table["condition"].isna() if place.condition is None else table["condition"] == place.condition)
    ]
    chosen = chosen.assign(key=chosen.index, note=_notes(reads, place, chosen))
    by = [
        (name, name == "q")
        for name in ("q", "youden", "mutual_information", "auroc")
        if name in chosen and chosen[name].notna().any()
    ]
    if place.condition is not None:
        by = [item for item in by if item[0] != "q"]
    ordered = (
        chosen.sort_values([name for name, _ in by], ascending=[up for _, up in by], kind="stable") if by else chosen
    )
    if "supported" in ordered:
        ordered = ordered.sort_values("supported", ascending=False, kind="stable")
    return ordered.dropna(axis=1, how="all").reset_index(drop=True)


def _notes(reads: Readings, place: Place, rows: pd.DataFrame) -> list[str]:
    selection = place.selection
    density = reads.density(selection.model)[selection.instance]
    copies = reads.copies
    unit_of: dict[int, str] = {}
    if copies is not None and "unit" in copies:
        same = copies[(copies["model"] == selection.model) & (copies["instance"] == selection.instance)]
        same = same[same["copy"].astype("boolean").fillna(False).astype(bool)]
        unit_of = dict(zip(same["latent"].astype(int), same["unit"].astype(str), strict=True))
    supported = (
        rows["supported"].astype("boolean").fillna(True) if "supported" in rows else pd.Series(True, index=rows.index)
    )
    notes = []
    for latent, enough in zip(rows["latent"].astype(int), supported, strict=True):
        said = ["dead"] if density[latent] == 0 else ["too few"] if not enough else []
        said += ["dense"] if density[latent] > OFTEN else []
        said += [f"copy of {unit_of[latent]}"] if latent in unit_of else []
        notes.append(", ".join(said))
    return notes


class RankedTable:
    """Pickers and table for one browser session.

    Parameters
    ----------
    compact : show the columns that choose a latent and no more, for a table beside plots

    Attributes
    ----------
    panel : what Panel draws
    """

    def __init__(self, reads: Readings, live: LiveSelection, *, compact: bool) -> None:
        self._reads, self._live, self._compact = reads, live, compact
        self._filling = False
        self._pickers = {name: self._picker(label) for name, label in PICKERS.items()}
        self._supported = pmui.Checkbox(label="supported only", value=False, size="small", margin=(2, 0))
        self._supported.param.watch(lambda _: self.show(live.place), "value")
        self._count = pn.pane.HTML("", stylesheets=[CARD_CSS], margin=(6, 0, 4, 0), sizing_mode="stretch_width")
        self.table = pn.widgets.Tabulator(
            pd.DataFrame({KEY: [], "latent": []}),
            show_index=False,
            disabled=True,
            selectable=1,
            pagination="remote",
            page_size=20 if compact else 25,
            hidden_columns=[KEY],
            sizing_mode="stretch_width",
            theme="simple",
            layout="fit_data_stretch" if compact else "fit_data",
            stylesheets=[TABLE_CSS],
            margin=0,
        )
        self.table.on_click(self._clicked)
        download = pmui.FileDownload(
            callback=self._csv,
            filename="mappings.csv",
            label="Download CSV",
            variant="outlined",
            size="small",
            margin=(8, 0, 0, 0),
        )
        self.panel = pn.Column(
            pn.FlexBox(
                *self._pickers.values(),
                self._supported,
                gap="10px",
                align_items="center",
                margin=0,
                sizing_mode="stretch_width",
            ),
            self._count,
            self.table,
            download,
            sizing_mode="stretch_width",
            margin=0,
        )

    def _picker(self, label: str) -> Any:
        made = pmui.Select(label=label, options=[], size="small", width=148 if self._compact else 180, margin=0)
        made.param.watch(lambda _: self._picked(), "value")
        return made

    def show(self, place: Place) -> None:
        """Fill pickers and table for a place, and mark the row of its latent."""
        self._filling = True
        try:
            self._fill_pickers(place)
            self._fill_table(place)
        finally:
            self._filling = False

    def _fill_pickers(self, place: Place) -> None:
        reads, selection = self._reads, place.selection
        table = (
            reads.mapping(selection.model, place.mapper).table
            if reads.is_mapped(selection.model, place.mapper)
            else None
        )
        conditions, splits = reads.conditions(selection.model, place.mapper, selection.variable), ["all"]
        if table is not None:
            splits = sorted(
                table["split"].unique(), key=lambda name: ALL_SPLITS.index(name) if name in ALL_SPLITS else 9
            )
        choices: dict[str, tuple[dict[str, Any], Any]] = {
            "model": ({_called(reads, name): name for name in reads.models}, selection.model),
            "instance": ({str(i): i for i in range(reads.space(selection.model).n_instances)}, selection.instance),
            "variable": ({name: name for name in reads.mapped_variables(place.mapper)}, selection.variable),
            "condition": ({WHOLE: None} | {name: name for name in conditions}, place.condition),
            "split": ({name: name for name in dict.fromkeys([*splits, selection.split])}, selection.split),
            "mapper": ({name: name for name in reads.mappers}, place.mapper),
        }
        for name, (options, value) in choices.items():
            picker = self._pickers[name]
            picker.visible = name != "mapper" or len(options) > 1
            if picker.options != options:
                picker.options = options
            picker.value = value

    def _fill_table(self, place: Place) -> None:
        rows = ranked(self._reads, place)
        n_rows = len(rows)
        if self._supported.value and "supported" in rows:
            rows = rows[rows["supported"].astype("boolean").fillna(False).astype(bool)].reset_index(drop=True)
        columns = (
            [name for name in COMPACT if name in rows]
            if self._compact
            else [n for n in rows if n not in (KEY, *HIDDEN, *LAST)] + [n for n in LAST if n in rows]
        )
        shown = rows[[KEY, *columns]]
        if not shown.equals(self.table.value):
            self.table.param.update(
                value=shown,
                page=1,
                titles={name: TITLES.get(name, name.replace("_", " ")) for name in columns},
                formatters={
                    name: NumberFormatter(format="0.[000]" if name != "q" and name != "p" else "0.[0000]")
                    for name in columns
                    if pd.api.types.is_float_dtype(shown[name])
                },
                text_align={name: "right" for name in columns if pd.api.types.is_numeric_dtype(shown[name])},
            )
        selection = place.selection
        at = rows.index[(rows["latent"] == selection.latent) & (rows["sign"] == selection.sign)] if len(rows) else []
        self.table.selection = [int(at[0])] if len(at) else []
        n_latents = self._reads.space(selection.model).n_latents
        self._count.object = f"<p>{html.escape(self._counted(place, len(rows), n_rows, n_latents))}</p>"

    def _counted(self, place: Place, n_shown: int, n_rows: int, n_latents: int) -> str:
        selection = place.selection
        if not self._reads.is_mapped(selection.model, place.mapper):
            return "No mapping was made for this model; add one with `nldisco map`."
        if not n_rows:
            return f"{place.mapper} has no scores of {selection.variable} on the {selection.split} split."
        what = "halves" if selection.sign else "latents"
        hidden = f", {n_rows - n_shown} with too little support hidden" if n_shown < n_rows else ""
        return f"{n_shown} of {n_latents * (2 if selection.sign else 1)} {what} of instance {selection.instance} shown{hidden}."

    def _picked(self) -> None:
        """A person chose something; another model or instance has other latents, so its best one is taken."""
        if self._filling:
            return
        place = self._live.place
        chosen = {name: picker.value for name, picker in self._pickers.items()}
        old = place.selection
        new = replace(old, **{name: chosen[name] for name in ("model", "instance", "variable", "split")})
        if new.model != old.model:
            new = replace(new, instance=min(new.instance, self._reads.space(new.model).n_instances - 1))
        condition = chosen["condition"] if new.variable == old.variable else None
        moved = replace(place, selection=new, condition=condition, mapper=chosen["mapper"])
        if (new.model, new.instance) != (old.model, old.instance):
            moved = replace(moved, selection=_with_best(self._reads, moved))
        self._live.go(moved)

    def _clicked(self, event: Any) -> None:
        """Select the latent of the clicked row, found by its key: after sorting, row numbers mean nothing."""
        key = int(self.table.value[KEY].iloc[event.row])
        place = self._live.place
        row = self._reads.mapping(place.selection.model, place.mapper or "").table.loc[key]
        self._live.select(latent=int(row["latent"]), sign=int(row["sign"]))

    def _csv(self) -> io.StringIO:
        """The table as shown, all pages of it."""
        return io.StringIO(self.table.value.drop(columns=KEY).to_csv(index=False))


def _called(reads: Readings, model: str) -> str:
    return f"{reads.run.model.provider} (model)" if model == "model" else f"{model} (control)"


def _with_best(reads: Readings, place: Place) -> Selection:
    rows = ranked(reads, place)
    if len(rows):
        return replace(place.selection, latent=int(rows["latent"].iloc[0]), sign=int(rows["sign"].iloc[0]))
    signed = reads.space(place.selection.model).code_kind == "signed"
    return replace(place.selection, latent=0, sign=1 if signed else 0)
