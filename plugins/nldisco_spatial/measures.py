"""What is scored of each kind of variable: maps of a position, polar maps of a direction, correlation with a speed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core.binned import Binned, Covariate
from nldisco_core.tuning import (
    Conditions,
    TuningCurves,
    circular_conditions,
    condition_means,
    preferred_direction,
    resultant_length,
    stability,
)
from nldisco_spatial.border_cells import border_score
from nldisco_spatial.config import SpatialConfig
from nldisco_spatial.grid_cells import grid_score
from nldisco_spatial.maps import RateMaps, pixels, rate_maps
from nldisco_spatial.scores import kl_from_uniform, sparsity, spatial_information
from nldisco_spatial.speed_cells import speed_score

__all__ = ["Direction", "Drawn", "Measure", "Position", "Speed", "odd_blocks"]

Values = NDArray[np.float64]
Rows = NDArray[np.bool_]
ByChance = Callable[[NDArray[np.int64]], dict[str, Values]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """Arrays of one variable by name.

    Attributes
    ----------
    by_column : columns first
    shared : the same for all columns
    axes : the same for all columns and whatever the rows
    """

    by_column: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    shared: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    axes: Mapping[str, NDArray[Any]] = field(default_factory=dict)


class Measure(Protocol):
    """What is scored of one variable, all columns of activations at once."""

    def scores(self, rows: Rows) -> dict[str, Values]:
        """(n_columns,) scores by name on these rows."""

    def statistics(self, scores: Mapping[str, Values], first: Mapping[str, Values]) -> dict[str, Values]:
        """(n_columns,) what p speaks of, by name; larger is further from chance, NaN is not tested.

        Parameters
        ----------
        scores, first : scores of the tested split, and of the split that says which are worth a test
        """

    def by_chance(self, rows: Rows, observed: Mapping[str, Values]) -> ByChance:
        """From (n_bins,) the row whose label each row takes to the `statistics` of these rows, for those observed."""

    def drawn(self, rows: Rows) -> Drawn:
        """Maps of these rows."""


def odd_blocks(data: Binned, rows: Rows, block_s: float) -> Rows:
    """(n_bins,) every other block of time of the chosen rows of each session, the first one included."""
    block_ns = round(block_s * 1e9)
    odd = np.zeros_like(rows)
    for session, (start, stop) in zip(data.sessions, pairwise(data.row_offsets.tolist()), strict=True):
        chosen = np.flatnonzero(rows[start:stop])
        if len(chosen):
            block = (session.start_ns[chosen] - session.start_ns[0]) // block_ns
            rank = np.cumsum(np.diff(block, prepend=block[0]) != 0)
            odd[start + chosen[rank % 2 == 0]] = True
    return odd


@dataclass(frozen=True, kw_only=True, eq=False)
class _OfConditions:
    """Shares how activations meet the conditions of a variable, as they are or under a null.

    Attributes
    ----------
    activations : (n_bins, n_columns) by row
    chosen : the variable, cut
    """

    config: SpatialConfig
    data: Binned
    covariate: Covariate
    activations: sparse.csr_array
    chosen: Conditions

    def _parts(self, rows: Rows) -> tuple[NDArray[np.int64], sparse.csc_array]:
        where = np.flatnonzero(rows)
        return where, self.activations[where].tocsc()

    def _relabelled(self, codes: NDArray[np.int32]) -> Conditions:
        return replace(self.chosen, codes=codes)

    def _halves(self, rows: Rows) -> tuple[Rows, Rows]:
        odd = odd_blocks(self.data, rows & (self.chosen.codes >= 0), self.config.block_s)
        return odd, rows & ~odd


class Position(_OfConditions):
    """Rate maps of a position in a plane or on a line."""

    @classmethod
    def of(
        cls, covariate: Covariate, activations: sparse.csr_array, data: Binned, rows: Rows, config: SpatialConfig
    ) -> Position:
        """The position cut into pixels over its range on these rows."""
        chosen = pixels(covariate, config.n_pixels, rows)
        return cls(config=config, data=data, covariate=covariate, activations=activations, chosen=chosen)

    def maps(self, rows: Rows) -> RateMaps:
        """Rate maps of these rows."""
        where, part = self._parts(rows)
        return self._maps(part, self.chosen.codes[where])

    def _maps(self, part: sparse.csc_array, codes: NDArray[np.int32]) -> RateMaps:
        every = np.ones(len(codes), dtype=bool)
        return rate_maps(part, self._relabelled(codes), every, smooth_pixels=self.config.smooth_pixels)

    def scores(self, rows: Rows) -> dict[str, Values]:
        """Information, sparsity, grid, border, KL, stability, and where the map is largest."""
        found = self.maps(rows)
        odd, even = (self.maps(half).rate for half in self._halves(rows))
        active = np.nan_to_num(found.rate).max(axis=(1, 2)) > 0
        scores = {
            "spatial_information": spatial_information(found.rate, found.n_bins),
            "sparsity": sparsity(found.rate, found.n_bins),
            "kl_from_uniform": kl_from_uniform(found.rate),
            "stability": stability(odd.reshape(len(odd), -1), even.reshape(len(even), -1)),
            "grid_score": grid_score(found.rate),
            "border_score": border_score(found.rate),
            **self._peaks(found.rate),
        }
        return {name: np.where(active, values, np.nan) for name, values in scores.items()}

    def _peaks(self, rate: Values) -> dict[str, Values]:
        by_pixel = np.nan_to_num(rate, nan=-1.0).swapaxes(1, 2).reshape(len(rate), -1)
        at = by_pixel.argmax(axis=1)
        places = self.chosen.centres[at]
        peaks = {f"preferred_{axis}": places[:, index] for index, axis in enumerate("xy"[: places.shape[1]])}
        return {"peak": by_pixel[np.arange(len(at)), at], **peaks}

    def statistics(self, scores: Mapping[str, Values], first: Mapping[str, Values]) -> dict[str, Values]:
        """Spatial information of all, grid score of those positive on the first split."""
        found = {"spatial information": scores["spatial_information"]}
        if len(self.chosen.grid) == 2:
            worth = (first["grid_score"] > 0) | (first is scores)
            found["grid score"] = np.where(worth, scores["grid_score"], np.nan)
        return found

    def by_chance(self, rows: Rows, observed: Mapping[str, Values]) -> ByChance:
        """Both of maps of relabelled positions."""
        where, part = self._parts(rows)
        grids = np.isfinite(observed.get("grid score", np.empty(0)))

        def under(source: NDArray[np.int64]) -> dict[str, Values]:
            found = self._maps(part, self.chosen.codes[source[where]])
            chance = {"spatial information": spatial_information(found.rate, found.n_bins)}
            if len(grids):
                chance["grid score"] = np.full(len(grids), np.nan)
                chance["grid score"][grids] = grid_score(found.rate[grids])
            return chance

        return under

    def drawn(self, rows: Rows) -> Drawn:
        """The maps, their occupancy and the borders of their pixels."""
        found = self.maps(rows)
        return Drawn(
            by_column={"map": found.rate.astype(np.float32)},
            shared={"occupancy_s": found.n_bins * self.data.bin_s},
            axes={f"{axis}_edges": border for axis, border in zip("xy", self.chosen.edges, strict=False)},
        )


class Direction(_OfConditions):
    """Polar maps of a circular variable."""

    @classmethod
    def of(cls, covariate: Covariate, activations: sparse.csr_array, data: Binned, config: SpatialConfig) -> Direction:
        """The circle cut into equal parts of ``[-period / 2, period / 2)``."""
        chosen = circular_conditions(covariate, config.n_directions, start=-(covariate.period or 1.0) / 2)
        return cls(config=config, data=data, covariate=covariate, activations=activations, chosen=chosen)

    def curves(self, rows: Rows) -> TuningCurves:
        """Polar maps of these rows."""
        where, part = self._parts(rows)
        return self._curves(part, self.chosen.codes[where])

    def _curves(self, part: sparse.csc_array, codes: NDArray[np.int32]) -> TuningCurves:
        every = np.ones(len(codes), dtype=bool)
        return condition_means(part, self._relabelled(codes), every, smooth_bins=self.config.smooth_directions)

    @property
    def _angles(self) -> Values:
        return np.asarray(self.chosen.centres * 2 * np.pi / (self.covariate.period or 1.0))

    def scores(self, rows: Rows) -> dict[str, Values]:
        """Resultant length, preferred heading (in the variable's own unit), information, KL and stability."""
        found = self.curves(rows)
        odd, even = (self.curves(half).mean for half in self._halves(rows))
        active = np.nan_to_num(found.mean).max(axis=1) > 0
        preferred = preferred_direction(found.mean, self._angles)
        scores = {
            "resultant_length": resultant_length(found.mean, self._angles),
            "preferred_direction": preferred * (self.covariate.period or 1.0) / (2 * np.pi),
            "spatial_information": spatial_information(found.mean, found.n_bins),
            "sparsity": sparsity(found.mean, found.n_bins),
            "kl_from_uniform": kl_from_uniform(found.mean),
            "stability": stability(odd, even),
            "peak": np.nan_to_num(found.mean).max(axis=1),
        }
        return {name: np.where(active, values, np.nan) for name, values in scores.items()}

    def statistics(self, scores: Mapping[str, Values], first: Mapping[str, Values]) -> dict[str, Values]:
        """Resultant length of all."""
        return {"resultant length": scores["resultant_length"]}

    def by_chance(self, rows: Rows, observed: Mapping[str, Values]) -> ByChance:
        """Resultant length of polar maps of relabelled directions."""
        where, part = self._parts(rows)

        def under(source: NDArray[np.int64]) -> dict[str, Values]:
            curves = self._curves(part, self.chosen.codes[source[where]]).mean
            return {"resultant length": resultant_length(curves, self._angles)}

        return under

    def drawn(self, rows: Rows) -> Drawn:
        """The polar maps, their occupancy and the centres of the parts of the circle."""
        found = self.curves(rows)
        return Drawn(
            by_column={"polar": found.mean.astype(np.float32)},
            shared={"polar_occupancy_s": found.occupancy_s(self.data.bin_s)},
            axes={"polar_centres": self.chosen.centres},
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Speed:
    """Correlation with how fast the animal moves.

    Attributes
    ----------
    activations : (n_bins, n_columns) by row
    values : (n_bins,) the speed
    """

    activations: sparse.csr_array
    values: Values

    def _on(self, rows: Rows) -> Callable[[Values], Values]:
        part = self.activations[np.flatnonzero(rows)].tocsc()
        return lambda speed: speed_score(part, speed)

    def scores(self, rows: Rows) -> dict[str, Values]:
        """The speed score."""
        return {"speed_score": self._on(rows)(self.values[rows])}

    def statistics(self, scores: Mapping[str, Values], first: Mapping[str, Values]) -> dict[str, Values]:
        """Size of the speed score, whatever its sign."""
        return {"absolute speed score": np.abs(scores["speed_score"])}

    def by_chance(self, rows: Rows, observed: Mapping[str, Values]) -> ByChance:
        """Its size with relabelled speeds."""
        score, where = self._on(rows), np.flatnonzero(rows)
        return lambda source: {"absolute speed score": np.abs(score(self.values[source[where]]))}

    def drawn(self, rows: Rows) -> Drawn:
        """Nothing."""
        return Drawn()
