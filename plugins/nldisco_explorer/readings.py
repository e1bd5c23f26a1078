"""What views read of a run, kept once per process and shared by all browser sessions."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core.binned import SPLITS
from nldisco_core.condition_curves import Visits, blocks_of, cut
from nldisco_core.notes import Notes
from nldisco_core.runs import Run
from nldisco_core.tuning import Conditions, one_per_channel
from nldisco_explorer.caches import Cache, stamp_of
from nldisco_explorer.related import keep_relations
from nldisco_explorer.scored import Scored
from nldisco_explorer.spaces import mapped_space, n_active
from nldisco_explorer.trials import Trials

if TYPE_CHECKING:
    from nldisco_core.binned import Covariate
    from nldisco_core.interfaces import Progress
    from nldisco_core.latents import LatentSpace
    from nldisco_core.mapping import MapperResult
    from nldisco_core.selection import Selection

__all__ = ["ALL_SPLITS", "Activations", "Readings", "prepare", "readings"]

ALL_SPLITS = ("all", *SPLITS)
MOST_VISITS = 64
"""Choices of variable, model and split that are held at once."""


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
        self.notes = Notes(run.folder)
        self.cache = Cache(run.folder)
        self._spaces: dict[str, LatentSpace] = {}
        self._densities: dict[tuple[str, int], NDArray[np.float64]] = {}
        self._conditions: dict[str, Conditions] = {}
        self._scored: dict[tuple[str, str, int], Scored] = {}
        self._covariates: dict[str, Covariate] = {}
        self._masks: dict[str, NDArray[np.bool_]] = {}
        self._defined: dict[str, NDArray[np.bool_]] = {}
        self._tables: dict[str, dict[tuple[str, int, int | None], list[dict[str, Any]]]] = {}
        self._best_control: dict[tuple[str | None, str | None, str], tuple[str, str, float] | None] = {}
        self._seeds: pd.DataFrame | None = None
        self.rankings: dict[tuple[object, ...], pd.DataFrame] = {}
        self.visits = lru_cache(maxsize=MOST_VISITS)(self._visits)

    @property
    def is_stale(self) -> bool:
        """Whether the run on disk is another one than was read."""
        return stamp_of(self.run.folder) != self.cache.stamp

    @cached_property
    def models(self) -> tuple[str, ...]:
        """``model`` and the controls."""
        return ("model", *self.run.controls)

    @cached_property
    def mappers(self) -> tuple[str, ...]:
        """Mappers whose table speaks of single latents, ``selectivity`` first."""
        found = [name for name in self.run.mappings if self.scored("model", name).splits]
        return tuple(sorted(found, key=lambda name: (name != "selectivity", name)))

    def scored(self, model: str, mapper: str) -> Scored:
        """What a mapper found for a model; read again when its file has changed."""
        part = self.run.part(model)
        file = part.folder / "mappings" / mapper / "mapping.json"
        key = (model, mapper, file.stat().st_mtime_ns if file.exists() else 0)
        if key not in self._scored:
            self._scored[key] = Scored(part.mapping(mapper))
        return self._scored[key]

    def mapping(self, model: str, mapper: str) -> MapperResult:
        """All that a mapper found for a model."""
        return self.scored(model, mapper).result

    def best_control(self, mapper: str | None, variable: str | None, split: str) -> tuple[str, str, float] | None:
        """Control, score and value of the best supported latent of any control; None where none is scored."""
        key = (mapper, variable, split)
        if key not in self._best_control:
            self._best_control[key] = None if mapper is None else self._find_best_control(mapper, variable, split)
        return self._best_control[key]

    def _find_best_control(self, mapper: str, variable: str | None, split: str) -> tuple[str, str, float] | None:
        mapped = [name for name in self.run.controls if self.is_mapped(name, mapper)]
        tables = {name: self.scored(name, mapper).whole(variable, split) for name in mapped}
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
        mapped = () if mapper is None else self.scored("model", mapper).variables
        return tuple(dict.fromkeys([*mapped, *self.variables()]))

    def mapped_splits(self, model: str, mapper: str | None) -> tuple[str, ...]:
        """Splits the mapper scored, ``all`` where it was not run."""
        return self.scored(model, mapper).splits if mapper and self.is_mapped(model, mapper) else ("all",)

    def conditions(self, model: str, mapper: str | None, variable: str | None) -> tuple[str, ...]:
        """Values of a variable that the mapper scored one by one."""
        return self.scored(model, mapper).conditions(variable) if mapper and self.is_mapped(model, mapper) else ()

    def space(self, model: str) -> LatentSpace:
        """Activations of all latents of a model, memory-mapped."""
        if model not in self._spaces:
            self._spaces[model] = mapped_space(self.run, model, self.cache)
        return self._spaces[model]

    def activations(self, selection: Selection) -> Activations:
        """Active bins of the selected latent (or rectified half) in the selected split."""
        space, latent, defined = self.space(selection.model), selection.latent, self.defined(selection.model)
        if latent is None:
            return Activations(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32), defined)
        code = space.codes[selection.instance]
        if isinstance(code, sparse.csc_array):
            inside = slice(code.indptr[latent], code.indptr[latent + 1])
            rows, values = code.indices[inside].astype(np.int64), code.data[inside]
        else:
            column = np.asarray(code[:, latent])
            rows = np.flatnonzero(column)
            values = column[rows]
        values = np.asarray(values * (selection.sign or 1), dtype=np.float32)
        kept = defined[rows]
        if selection.sign:
            kept = kept & (values > 0)
        if selection.split != "all":
            mask = self.split_mask(selection.split)
            kept, defined = kept & mask[rows], defined & mask
        return Activations(rows[kept], values[kept], defined)

    def defined(self, model: str) -> NDArray[np.bool_]:
        """(n_bins,) bins the model speaks of."""
        if model not in self._defined:
            space = self.space(model)
            self._defined[model] = np.ones(space.n_rows, dtype=bool) if space.defined is None else space.defined
        return self._defined[model]

    def density(self, model: str, sign: int = 0) -> NDArray[np.float64]:
        """(n_instances, n_latents) share of the bins the model speaks of in which each latent is active.

        Parameters
        ----------
        sign : +1 or -1 for that half of a signed code, 0 for the code as it is
        """
        if (model, sign) not in self._densities:
            defined = self.defined(model)
            active = [n_active(code, defined, sign) for code in self.space(model).codes]
            self._densities[model, sign] = np.asarray(active) / max(int(defined.sum()), 1)
        return self._densities[model, sign]

    def split_mask(self, split: str) -> NDArray[np.bool_]:
        """(n_bins,) bins of a split, or all."""
        if split not in self._masks:
            code = self.run.counts.split
            everything = split == "all"
            self._masks[split] = np.ones(len(code), dtype=bool) if everything else code == SPLITS.index(split)
        return self._masks[split]

    @cached_property
    def start_s(self) -> NDArray[np.float64]:
        """(n_bins,) start of each bin (s), on each session's own clock."""
        return self.run.counts.start_s

    @cached_property
    def trials(self) -> Trials:
        """The run's trials and their events."""
        return Trials(self.run.counts)

    @cached_property
    def groupings(self) -> tuple[str, ...]:
        """What trials can be grouped by: discrete variables, then columns of the trial table."""
        return tuple(dict.fromkeys([*self.variables("discrete"), *self.trials.groupings]))

    def variables(self, kind: str | None = None) -> tuple[str, ...]:
        """Variables of one kind, or all, as mappers name them: one for each channel of what is no position."""
        return tuple(name for name, (_, _, of_kind) in self._mapped_as.items() if kind in (None, of_kind))

    @cached_property
    def _mapped_as(self) -> dict[str, tuple[str, int, str]]:
        """Covariate of the data, place among its channels and kind, by the name of the variable."""
        found: dict[str, tuple[str, int, str]] = {}
        for session in self.run.counts.sessions:
            for own in session.covariates.values():
                for index, part in enumerate(one_per_channel(own)):
                    found.setdefault(part.name, (own.name, index, own.kind))
        return found

    def covariate(self, name: str) -> Covariate:
        """A variable over all bins."""
        if name not in self._covariates:
            own, index, _ = self._mapped_as.get(name, (name, 0, ""))
            self._covariates[name] = one_per_channel(self.run.counts.covariate(own))[index]
        return self._covariates[name]

    def cut(self, variable: str) -> Conditions:
        """The conditions a variable is drawn in."""
        if variable not in self._conditions:
            number = list(self._mapped_as).index(variable)
            kept = self.cache.get(f"conditions/{number:03d}", lambda: _arrays(cut(self.covariate(variable))))
            edges = tuple(np.asarray(kept[name]) for name in sorted(kept) if name.startswith("edges"))
            self._conditions[variable] = Conditions(
                variable=variable,
                kind=self.covariate(variable).kind,
                codes=kept["codes"],
                labels=tuple(map(str, kept["labels"])),
                centres=np.asarray(kept["centres"]),
                edges=edges,
            )
        return self._conditions[variable]

    @cached_property
    def blocks(self) -> NDArray[np.int32]:
        """(n_bins,) block of time that each bin is resampled with."""
        return blocks_of(self.run.counts)

    def _visits(self, variable: str, model: str, split: str) -> Visits:
        """The bins of a split, as far as the model speaks of them, by condition of a variable."""
        mask = self.split_mask(split) & self.defined(model)
        return Visits(self.cut(variable), mask=mask, blocks=self.blocks, bin_s=self.run.counts.bin_s)

    @cached_property
    def activity(self) -> NDArray[np.float32]:
        """(n_bins, n_units) z-scored activity, preprocessed as the model saw it; units that never vary are zero."""
        return self.cache.get("activity", lambda: {"z": _z_scored(self.run)})["z"]

    @cached_property
    def units(self) -> pd.DataFrame:
        """Unit table with columns id and region."""
        units = self.run.counts.units
        region = units["region"] if "region" in units else pd.Series("", index=units.index)
        return pd.DataFrame(
            {"id": units["id"].astype(str), "region": region.fillna("").astype(str).replace("", "no region")}
        )

    def seeds_by_chance(self, model: str) -> dict[str, float]:
        """Similarity that the median latent of two instances reaches by chance: the nulls of the table ``seed_match``.

        By column, such as ``null_gaussian`` and ``null_permuted`` of decoder weights and ``activation_null_shifted``;
        empty where the run has none.
        """
        if self._seeds is None:
            table = self.run.table("seed_match") if "seed_match" in self.run.tables else pd.DataFrame({"model": []})
            self._seeds = table.set_index(table["model"].astype(str))
        if model not in self._seeds.index:
            return {}
        row = self._seeds.loc[model]
        return {name: float(row[name]) for name in row.index if "null_" in name and not pd.isna(row[name])}

    @cached_property
    def copies(self) -> pd.DataFrame | None:
        """The run's table of copies and composites, None where it has none."""
        return self.run.table("copies") if "copies" in self.run.tables else None

    def of_latent(self, table: str, selection: Selection) -> dict[str, Any]:
        """What a further table of the run, such as ``copies`` or ``stability``, says of the selected latent."""
        rows = self._by_latent(table).get((selection.model, selection.instance, selection.latent), [])
        return next((row for row in rows if row.get("sign", selection.sign) == selection.sign), {})

    def _by_latent(self, table: str) -> dict[tuple[str, int, int | None], list[dict[str, Any]]]:
        if table not in self._tables:
            found: dict[tuple[str, int, int | None], list[dict[str, Any]]] = {}
            frame = self.run.table(table) if table in self.run.tables else pd.DataFrame()
            for row in frame.to_dict("records"):
                known = {str(name): value for name, value in row.items() if not pd.isna(value)}
                found.setdefault((str(row.get("model", "model")), row["instance"], row["latent"]), []).append(known)
            self._tables[table] = found
        return self._tables[table]


def _supported(table: pd.DataFrame) -> pd.DataFrame:
    """Rows with enough support; all of them where the mapper does not say."""
    return table[table["supported"].fillna(False).astype(bool)] if "supported" in table else table


def _arrays(chosen: Conditions) -> dict[str, NDArray[Any]]:
    edges = {f"edges-{channel}": values for channel, values in enumerate(chosen.edges)}
    return {"codes": chosen.codes, "labels": np.array(chosen.labels), "centres": chosen.centres, **edges}


def _z_scored(run: Run) -> NDArray[np.float32]:
    values = np.asarray(run.binned.activity, dtype=np.float32)
    centred = values - values.mean(axis=0)
    scale = centred.std(axis=0)
    return np.asarray(centred / np.where(scale > 0, scale, 1), dtype=np.float32)


def prepare(run: Run, progress: Progress) -> None:
    """Read and keep all that a click on this run will need, telling how far it is; quick where it is kept already."""
    reads = readings(run)
    steps: list[tuple[str, Callable[[], object]]] = [("activity of units", lambda: reads.activity)]
    for name in reads.models:
        signs = (0, 1, -1) if reads.space(name).code_kind == "signed" else (0,)
        steps += [(f"latents of {name}", partial(reads.density, name, sign)) for sign in signs]
    steps += [(f"bins by {name}", partial(reads.cut, name)) for name in reads.variables()]
    for model in reads.models:
        steps += [(f"{name} of {model}", partial(reads.scored, model, name)) for name in run.part(model).mappings]
    steps.append(("relations between latents", partial(keep_relations, reads, "model")))
    for done, (name, step) in enumerate(steps):
        progress(done, len(steps), name)
        step()
    progress(len(steps), len(steps), "ready")


def readings(run: Run) -> Readings:
    """The shared readings of a run; made anew when its files have changed."""
    return _readings(run.folder.resolve(), stamp_of(run.folder))


@lru_cache(maxsize=16)
def _readings(folder: Path, _stamp: str) -> Readings:
    return Readings(Run(folder))
