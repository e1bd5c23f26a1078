"""Tiles of the Overview page: model, data, quality beside controls, densities and training curves."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui

from nldisco_core.binned import SPLITS
from nldisco_core.colours import of_series
from nldisco_core.runs import Run
from nldisco_core.selection import Selection
from nldisco_core.summary import Findings, comparison, printable
from nldisco_explorer.drawing.payload import Axis, Drawing, Layer, Panel, around
from nldisco_explorer.drawing.tile import CanvasTile
from nldisco_explorer.evidence import MIN_ACTIVE_BINS, OFTEN
from nldisco_explorer.histograms import MARGINS, counts_axis, histogram_panel, log_axis
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.style import CARD_CSS
from nldisco_explorer.wording import listed, number, share

__all__ = [
    "Comparison",
    "DataCard",
    "DensityHistogram",
    "ModelCard",
    "Quality",
    "TrainingCurves",
    "WrittenTile",
]

DENSITY_ROW, CURVES_ROW = 260, 230

QUALITY = {
    "r2": "R²",
    "fvu": "FVU",
    "cosine": "cosine",
    "deviance_explained": "deviance explained",
    "bits_per_spike": "bits per spike",
    "population_r2": "R² of the population sum",
    "l0_mean": "active latents per bin",
    "dead_share": "dead latents",
}


class WrittenTile:
    """A live view of text that speaks of the run and not of a selection.

    Parameters
    ----------
    content : HTML
    """

    def __init__(self, content: str) -> None:
        self.panel: Any = pn.pane.HTML(content, stylesheets=[CARD_CSS], sizing_mode="stretch_width", margin=0)

    def show(self, selection: Selection) -> None:
        """Nothing: the text is the same for every selection."""


def _rows(facts: Iterable[tuple[str, object]]) -> str:
    shown = (
        f"<div><dt>{html.escape(term)}</dt><dd>{html.escape(str(text))}</dd></div>" for term, text in facts if str(text)
    )
    return f'<dl class="rows">{"".join(shown)}</dl>'


class ModelCard:
    """View: which model, how it was configured, who provided it."""

    title: ClassVar[str] = "Model"
    page: ClassVar[str] = "overview"
    needs: ClassVar[frozenset[str]] = frozenset()

    def build(self, run: Run) -> WrittenTile:
        """A new tile."""
        space, record = run.latents.main, run.model.record
        levels = " < ".join(map(str, space.level_sizes)) if space.level_sizes else ""
        facts: list[tuple[str, object]] = [
            ("Model", run.model.provider),
            ("Latents", f"{space.n_latents} in each of {space.n_instances} instances, {space.code_kind}"),
            ("Levels", levels),
            ("Labels used", space.label_use),
            (
                "Controls",
                ", ".join(
                    f"{name} ({part.provider})" if name != part.provider else name
                    for name, part in run.controls.items()
                )
                or "none",
            ),
            ("Mappers", ", ".join(run.mappings) or "none"),
            ("Provided by", f"{record.get('distribution', 'unknown')} {record.get('version', '')}"),
            ("Run", f"{run.name}, {run.about.get('created', '')}"),
        ]
        config = record.get("config", {})
        settings = ", ".join(f"{key} = {value}" for key, value in config.items()) if isinstance(config, dict) else ""
        return WrittenTile(_rows([*facts, ("Settings", settings)]))


class DataCard:
    """View: session, units by region, bins, preprocessing and splits."""

    title: ClassVar[str] = "Data"
    page: ClassVar[str] = "overview"
    needs: ClassVar[frozenset[str]] = frozenset()

    def build(self, run: Run) -> WrittenTile:
        """A new tile."""
        counts, card = run.counts, run.about.get("card", {})
        regions = readings(run).units["region"].value_counts() if counts.shares_units else pd.Series(dtype=int)
        done = run.binned.preprocessing
        splits = [(name, int((counts.split == code).sum())) for code, name in enumerate(SPLITS)]
        config = run.about.get("config", {})
        facts: list[tuple[str, object]] = [
            ("Recording", card.get("title") or run.about.get("dataset", {}).get("provider", "")),
            ("Species, area", ", ".join(card[key] for key in ("species", "area") if card.get(key))),
            ("Sessions", listed(session.session_id for session in counts.sessions)),
            (
                "Units",
                f"{sum(regions)}: " + ", ".join(f"{n} {region}" for region, n in regions.items())
                if len(regions)
                else "differ between sessions",
            ),
            (
                "Bins",
                f"{counts.n_bins} of {1000 * counts.bin_s:g} ms, {number(counts.n_bins * counts.bin_s / 60)} min, "
                f"{counts.activity_kind}",
            ),
            ("Epoch", config.get("bin", {}).get("epoch") or "whole session"),
            (
                "Preprocessing",
                f"smoothing {'none' if done.smooth_s is None else f'{1000 * done.smooth_s:g} ms'}, "
                f"normalising {done.normalise}",
            ),
            ("Splits", ", ".join(f"{name} {share(n / counts.n_bins)}" for name, n in splits if n)),
            ("Licence", card.get("licence", "")),
            ("Citation", card.get("citation", "")),
        ]
        return WrittenTile(_rows(facts))


class Quality:
    """View: reconstruction of held-out bins by the model and by each control, mean and range over instances."""

    title: ClassVar[str] = "Reconstruction of test bins, model beside its controls"
    page: ClassVar[str] = "overview"
    needs: ClassVar[frozenset[str]] = frozenset({"metrics"})
    wide: ClassVar[bool] = True

    def build(self, run: Run) -> WrittenTile:
        """A new tile."""
        table, split = _reported(run.metrics)
        columns = [name for name in QUALITY if name in table and table[name].notna().any()]
        head = "".join(f'<th scope="col">{html.escape(QUALITY[name])}</th>' for name in columns)
        body = ""
        for model, group in table.groupby("model", sort=False):
            cells = "".join(f"<td>{_mean_and_range(group[name], name)}</td>" for name in columns)
            called = f"{run.model.provider} (this model)" if model == "model" else str(model)
            body += f'<tr class="{"own" if model == "model" else "control"}"><td>{html.escape(called)}</td>{cells}</tr>'
        n_instances = table.groupby("model")["instance"].nunique().max()
        note = f"<p>{split} bins, deepest level; mean, with lowest and highest of up to {n_instances} instances.</p>"
        return WrittenTile(
            f'{note}<div class="scroll"><table><thead><tr><th scope="col">model</th>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>"
        )


class Comparison:
    """View: decoding, tuning, copies and seed match of the model and each control, over instances, on test bins."""

    title: ClassVar[str] = "Decoding, tuning, copies and seeds, model beside its controls"
    page: ClassVar[str] = "overview"
    needs: ClassVar[frozenset[str]] = frozenset({"metrics", "mapping"})
    wide: ClassVar[bool] = True

    def build(self, run: Run) -> WrittenTile:
        """A new tile."""
        blocks = printable(comparison(Findings.of(run, mapping=readings(run).mapping)), {"model": run.model.provider})
        written = [_table(title, table) for title, table in blocks.items() if title != "reconstruction"]
        return WrittenTile("<p>test bins; mean, with lowest and highest instance.</p>" + "".join(written))


def _table(title: str, table: pd.DataFrame) -> str:
    head = "".join(f'<th scope="col">{html.escape(str(label))}</th>' for label in (title, *table.columns))
    rows = (
        "".join(f"<td>{html.escape(str(text))}</td>" for text in (model, *texts))
        for model, texts in zip(table.index, table.to_numpy(), strict=True)
    )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _reported(metrics: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Rows of the split that is reported and of each model's deepest level, lag zero where several are scored."""
    split = next(name for name in ("test", *SPLITS, *metrics["split"]) if (metrics["split"] == name).any())
    chosen = metrics[metrics["split"] == split]
    deepest = chosen.groupby("model")["level"].transform("max")
    chosen = chosen[chosen["level"] == deepest]
    nearest = chosen["lag_s"].abs().fillna(0).groupby(chosen["model"]).transform("min")
    return chosen[chosen["lag_s"].abs().fillna(0) == nearest], split


def _mean_and_range(values: pd.Series[float], name: str) -> str:
    known = values.dropna()
    if not len(known):
        return "–"
    write = share if name == "dead_share" else number
    text = write(float(known.mean()))
    low, high = write(float(known.min())), write(float(known.max()))
    return text if low == high else f"{text} <small>[{low}, {high}]</small>"


class DensityHistogram:
    """View: in what share of the bins each latent is active; dead and dense ones are counted."""

    title: ClassVar[str] = "Activation density"
    page: ClassVar[str] = "overview"
    needs: ClassVar[frozenset[str]] = frozenset()

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _DensityTile(readings(run))


class _DensityTile(CanvasTile):
    def __init__(self, reads: Readings) -> None:
        super().__init__()
        self._reads = reads

    def show(self, selection: Selection) -> None:
        """Draw the densities of the selected model, all instances together."""
        density = self._reads.density(selection.model)
        n_rows = max(int(self._reads.defined(selection.model).sum()), 1)
        edges = np.geomspace(0.5 / n_rows, 1.0, 41)
        n_latents, _ = np.histogram(density[density > 0], bins=edges)
        panel = histogram_panel(
            np.log10(edges),
            n_latents,
            x=log_axis(float(edges[0]), 1.2, "share of bins in which a latent is active"),
            y=counts_axis(n_latents, "latents"),
            colour="activation",
            alpha=0.85,
            name="latents",
        )
        rare = int(((density > 0) & (density * n_rows < MIN_ACTIVE_BINS)).sum())
        said = (
            f"{selection.model}, all instances: {density.size} latents, {int((density == 0).sum())} dead, "
            f"{rare} active in fewer than {MIN_ACTIVE_BINS} bins, "
            f"{int((density > OFTEN).sum())} dense (active in over half the time)."
        )
        self.draw(Drawing(panels=(panel,), rows=(DENSITY_ROW,), summary=said))


class TrainingCurves:
    """View: what the model reported while it was fitted."""

    title: ClassVar[str] = "Training curves"
    page: ClassVar[str] = "overview"
    needs: ClassVar[frozenset[str]] = frozenset({"history"})

    def build(self, run: Run) -> CanvasTile:
        """A new tile."""
        return _CurvesTile(run.history)


class _CurvesTile(CanvasTile):
    def __init__(self, history: pd.DataFrame) -> None:
        self._history = history
        names = list(dict.fromkeys(history["name"]))
        self._quantity = pmui.Select(label="quantity", options=names, size="small", width=220, margin=0)
        self._quantity.param.watch(lambda event: self._draw(event.new), "value")
        super().__init__(self._quantity)
        self._draw(names[0])

    def show(self, selection: Selection) -> None:
        """Nothing: training curves are those of the run's own model."""

    def _draw(self, name: str) -> None:
        rows = self._history[self._history["name"] == name].sort_values("step")
        curves = [group for _, group in rows.groupby("instance", dropna=False)]
        layers = tuple(
            Layer(
                "line",
                {"x": curve["step"], "y": curve["value"]},
                colour=of_series(index),
                name=name if curve["instance"].isna().all() else f"instance {int(curve['instance'].iloc[0])}",
            )
            for index, curve in enumerate(curves)
        )
        low, high = around(rows["value"].to_numpy(np.float64))
        last = rows.groupby("instance", dropna=False)["value"].last()
        panel = Panel(
            x=Axis(low=0.0, high=float(self._history["step"].max()) or 1.0, label="step", hover="step"),
            y=Axis(low=low, high=high, label=name.replace("_", " ")),
            layers=layers,
            margins=MARGINS,
        )
        said = (
            f"{name}: a line per instance ({len(curves)}), "
            f"ending at {number(float(last.min()))} to {number(float(last.max()))}."
        )
        self.draw(Drawing(panels=(panel,), rows=(CURVES_ROW,), summary=said))
