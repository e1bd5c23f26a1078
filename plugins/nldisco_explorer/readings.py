"""What views read of a run, kept once per process and shared by all browser sessions."""

from __future__ import annotations

from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.binned import SPLITS
from nldisco_core.runs import Run
from nldisco_explorer.trials import Trials
from nldisco_explorer.variables import cut

if TYPE_CHECKING:
    from scipy import sparse

    from nldisco_core.binned import Covariate
    from nldisco_core.latents import LatentSpace
    from nldisco_core.mapping import MapperResult
    from nldisco_core.selection import Selection
    from nldisco_core.tuning import Conditions

__all__ = ["ALL_SPLITS", "Activations", "Readings", "readings"]

ALL_SPLITS = ("all", *SPLITS)


class Activations:
    """When one latent is active, and how much.

    Attributes
    ----------
    rows : (n_active,) int, stacked bins in which it is active, ascending
    values : (n_active,) float32, its activation there, above zero
    defined : (n_bins,) bool, bins the model speaks of
    """

    def __init__(self, rows: NDArray[np.int64], values: NDArray[np.float32], defined: NDArray[np.bool_]) -> None:
        self.rows, self.values, self.defined = rows, values, defined

    def trace(self, n_bins: int) -> NDArray[np.float32]:
        """(n_bins,) activation of every bin; zero where inactive."""
        trace = np.zeros(n_bins, dtype=np.float32)
        trace[self.rows] = self.values
        return trace

    def within(self, mask: NDArray[np.bool_]) -> Activations:
        """The same with only the bins where the (n_bins,) mask is True."""
        kept = mask[self.rows]
        return Activations(self.rows[kept], self.values[kept], self.defined & mask)


class Readings:
    """Derived data of one run: computed when first asked for, and the same for every browser session."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._csc: dict[tuple[str, int], sparse.csc_array] = {}
        self._conditions: dict[str, Conditions] = {}
        self._mappings: dict[tuple[str, str, int], MapperResult] = {}
        self._covariates: dict[str, Covariate] = {}
        self._whole: dict[tuple[int, str, str | None, str], pd.DataFrame] = {}
        self._best_control: dict[tuple[str | None, str | None, str], tuple[str, str, float] | None] = {}

    @cached_property
    def models(self) -> tuple[str, ...]:
        """``model`` and the controls."""
        return ("model", *self.run.controls)

    @property
    def mappers(self) -> tuple[str, ...]:
        """Mappers whose table speaks of single latents, ``selectivity`` first."""
        found = [name for name in self.run.mappings if self.mapping("model", name).table["latent"].notna().any()]
        return tuple(sorted(found, key=lambda name: (name != "selectivity", name)))

    def mapping(self, model: str, mapper: str) -> MapperResult:
        """What a mapper found for a model; read again when its file has changed."""
        part = self.run.part(model)
        file = part.folder / "mappings" / mapper / "mapping.json"
        key = (model, mapper, file.stat().st_mtime_ns if file.exists() else 0)
        if key not in self._mappings:
            self._mappings[key] = part.mapping(mapper)
        return self._mappings[key]

    def whole(self, model: str, mapper: str, variable: str | None, split: str) -> pd.DataFrame:
        """Rows that score single latents for a whole variable, on a split or else on the split that is reported."""
        found = self.mapping(model, mapper)
        key = (id(found), model, variable, split)
        if key not in self._whole:
            table = found.table
            table = table[table["latent"].notna() & table["condition"].isna() & (table["variable"] == variable)]
            scored = [name for name in (split, "test", "all") if (table["split"] == name).any()]
            self._whole[key] = table[table["split"] == scored[0]] if scored else table
        return self._whole[key]

    def best_control(self, mapper: str | None, variable: str | None, split: str) -> tuple[str, str, float] | None:
        """Control, score and value of the best supported latent of any control; None where none is scored."""
        key = (mapper, variable, split)
        if key not in self._best_control:
            self._best_control[key] = None if mapper is None else self._find_best_control(mapper, variable, split)
        return self._best_control[key]

    def _find_best_control(self, mapper: str, variable: str | None, split: str) -> tuple[str, str, float] | None:
        mapped = [name for name in self.run.controls if self.is_mapped(name, mapper)]
        tables = {name: self.whole(name, mapper, variable, split) for name in mapped}
        for score in ("mutual_information", "auroc", "youden"):
            best = {name: float(_supported(table)[score].max()) for name, table in tables.items() if score in table}
            known = {name: value for name, value in best.items() if value == value}
            if known:
                name = max(known, key=lambda name: known[name])
                return name, score, known[name]
        return None

    def is_mapped(self, model: str, mapper: str | None) -> bool:
        """Whether that mapper was run on that model."""
        return mapper is not None and mapper in self.run.part(model).mappings

    def mapped_variables(self, mapper: str | None) -> tuple[str, ...]:
        """Variables the mapper speaks of, then those of the run that it does not."""
        mapped = self.mapping("model", mapper).table["variable"].dropna().unique() if mapper is not None else ()
        return tuple(dict.fromkeys([*map(str, mapped), *self.variables()]))

    def mapped_splits(self, model: str, mapper: str | None) -> tuple[str, ...]:
        """Splits the mapper scored, ``all`` where it was not run."""
        if mapper is None or not self.is_mapped(model, mapper):
            return ("all",)
        return tuple(sorted(map(str, self.mapping(model, mapper).table["split"].unique())))

    def conditions(self, model: str, mapper: str | None, variable: str | None) -> tuple[str, ...]:
        """Values of a variable that the mapper scored one by one."""
        if mapper is None or not self.is_mapped(model, mapper):
            return ()
        table = self.mapping(model, mapper).table
        return tuple(map(str, table.loc[table["variable"] == variable, "condition"].dropna().unique()))

    def space(self, model: str) -> LatentSpace:
        """Activations of all latents of a model."""
        return self.run.part(model).latents.main

    def activations(self, selection: Selection) -> Activations:
        """Active bins of the selected latent (or rectified half) in the selected split."""
        space, latent = self.space(selection.model), selection.latent
        if latent is None:
            return Activations(
                np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32), self.defined(selection.model)
            )
        if space.is_sparse:
            code = self._codes(selection.model, selection.instance)
            inside = slice(code.indptr[latent], code.indptr[latent + 1])
            rows, values = code.indices[inside].astype(np.int64), code.data[inside]
        else:
            column = np.asarray(space.codes)[selection.instance][:, latent]
            rows = np.flatnonzero(column)
            values = column[rows]
        values = np.asarray(values * (selection.sign or 1), dtype=np.float32)
        kept = values > 0 if selection.sign else np.ones(len(values), dtype=bool)
        kept &= self.defined(selection.model)[rows]
        chosen = Activations(rows[kept], values[kept], self.defined(selection.model))
        return chosen if selection.split == "all" else chosen.within(self.split_mask(selection.split))

    def _codes(self, model: str, instance: int) -> sparse.csc_array:
        if (model, instance) not in self._csc:
            self._csc[model, instance] = self.space(model).csc(instance)
        return self._csc[model, instance]

    def defined(self, model: str) -> NDArray[np.bool_]:
        """(n_bins,) bins the model speaks of."""
        space = self.space(model)
        return np.ones(space.n_rows, dtype=bool) if space.defined is None else space.defined

    def density(self, model: str) -> NDArray[np.float64]:
        """(n_instances, n_latents) share of the bins the model speaks of in which each latent is active."""
        space, defined = self.space(model), self.defined(model)
        if space.is_sparse:
            codes = (self._codes(model, instance) for instance in range(space.n_instances))
            active = [
                np.bincount(
                    np.repeat(np.arange(space.n_latents), np.diff(c.indptr)),
                    weights=defined[c.indices],
                    minlength=space.n_latents,
                )
                for c in codes
            ]
            return np.asarray(active) / max(int(defined.sum()), 1)
        return np.stack([np.count_nonzero(code[defined], axis=0) for code in np.asarray(space.codes)]) / max(
            int(defined.sum()), 1
        )

    def split_mask(self, split: str) -> NDArray[np.bool_]:
        """(n_bins,) bins of a split, or all."""
        code = self.run.counts.split
        return np.ones(len(code), dtype=bool) if split == "all" else np.asarray(code == SPLITS.index(split))

    @cached_property
    def trials(self) -> Trials:
        """The run's trials and their events."""
        return Trials(self.run.counts)

    @cached_property
    def groupings(self) -> tuple[str, ...]:
        """What trials can be grouped by: discrete variables, then columns of the trial table."""
        return tuple(dict.fromkeys([*self.variables("discrete"), *self.trials.groupings]))

    def variables(self, kind: str | None = None) -> tuple[str, ...]:
        """Variables of one kind, or all."""
        names = self.run.counts.covariate_names
        return tuple(name for name in names if kind in (None, self.covariate(name).kind))

    def covariate(self, name: str) -> Covariate:
        """A variable over all bins."""
        if name not in self._covariates:
            self._covariates[name] = self.run.counts.covariate(name)
        return self._covariates[name]

    def cut(self, variable: str) -> Conditions:
        """The conditions a variable is drawn in."""
        if variable not in self._conditions:
            self._conditions[variable] = cut(self.covariate(variable))
        return self._conditions[variable]

    @cached_property
    def activity(self) -> NDArray[np.float32]:
        """(n_bins, n_units) z-scored activity, preprocessed as the model saw it; units that never vary are zero."""
        values = np.asarray(self.run.binned.activity, dtype=np.float32)
        centred = values - values.mean(axis=0)
        scale = centred.std(axis=0)
        return np.asarray(centred / np.where(scale > 0, scale, 1), dtype=np.float32)

    @cached_property
    def units(self) -> pd.DataFrame:
        """Unit table with columns id and region."""
        units = self.run.counts.units
        region = units["region"] if "region" in units else pd.Series("", index=units.index)
        return pd.DataFrame(
            {"id": units["id"].astype(str), "region": region.fillna("").astype(str).replace("", "no region")}
        )

    @cached_property
    def copies(self) -> pd.DataFrame | None:
        """The run's table of copies and composites, None where it has none."""
        return self.run.table("copies") if "copies" in self.run.tables else None


def _supported(table: pd.DataFrame) -> pd.DataFrame:
    """Rows with enough support; all of them where the mapper does not say."""
    return table[table["supported"].fillna(False).astype(bool)] if "supported" in table else table


def readings(run: Run) -> Readings:
    """The shared readings of a run; made anew when its ``run.json`` has changed."""
    return _readings(run.folder.resolve(), (run.folder / "run.json").stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _readings(folder: Path, _stamp: int) -> Readings:
    return Readings(Run(folder))
