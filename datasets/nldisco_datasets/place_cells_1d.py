"""Four place cells on a line among 96 units without any tuning: a small simulation that is the same bit by bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core.binned import Binned
from nldisco_core.errors import DatasetUnavailable, IncompatibleData, unknown_name
from nldisco_core.interfaces import DatasetCard, Dictionary
from nldisco_core.latents import LatentSpace
from nldisco_core.session import Session, Signal, SpikeTrains
from nldisco_core.tuning import Conditions, condition_means, rectified, rectified_columns

__all__ = ["CELLS", "GATES", "SHA256", "PlaceCells1D", "Simulation", "field", "gates", "simulate"]

SESSION_ID = "place-cells-1d"
SHA256 = "ce5bd9573966e96cd36a44a68cc4e84836c95f749a59260e87398aaab06db09f"
"""Of the spikes of `simulate` saved with `numpy.save`."""

N_STEPS, STEP_S = 60_000, 0.01
N_NOISE = 96
BASELINE_HZ = 0.1

CELLS = pd.DataFrame(
    {
        "centre": [0.2, 0.4, 0.7, 0.7],
        "peak_hz": [10.0, 28.0, 20.0, 20.0],
        "width_left": [0.05, 0.10, 0.14, 0.06],
        "width_right": [0.10, 0.05, 0.14, 0.06],
    },
    index=pd.Index([f"place-{cell}" for cell in range(4)], name="id"),
)
"""The four place cells: units ``place-0`` to ``place-3``; centre and widths in lengths of the track."""

Floats = NDArray[np.float64]

_CARD = DatasetCard(
    title="Four place cells on a line, simulated",
    species="simulated",
    area="none",
    licence="BSD-3-Clause",
    citation="none: simulated here",
    source="nldisco_datasets.place_cells_1d",
    sizes={"sessions": 1, "units": 100, "spikes": 192_631},
    description=(
        "Ten minutes on a line from 0 to 1; four place cells, two of them with the same centre, and 96 units that fire "
        "at random. A smoke test: the units themselves pass its gates."
    ),
    defaults={
        "bin.bin_s": 0.1,
        "preprocess.smooth_s": 0.1,
        "preprocess.normalise": "global-max",
        "model.matryoshka-sae.levels": {"128": 4},
        "model.matryoshka-sae.epochs": 20,
    },
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Simulation:
    """What was simulated.

    Attributes
    ----------
    spikes : (100, 60000) bool, place cells first: whether a unit fired in a step of 10 ms
    position : (60000,) from 0 to 1
    noise_hz : (96,) rates of the units without tuning
    """

    spikes: NDArray[np.bool_]
    position: Floats
    noise_hz: Floats


def simulate() -> Simulation:
    """Walk and spikes; the spikes saved with `numpy.save` have the digest `SHA256`.

    In each step the velocity becomes ``v (1 - dt) + 0.4 sqrt(dt) xi``, then the position ``x + v dt``; at 0 and 1 the
    position is reflected and the velocity changes its sign.
    """
    position = np.empty(N_STEPS)
    x, v = 0.5, 0.0
    position[0] = x
    for step, xi in enumerate(np.random.default_rng(42).standard_normal(N_STEPS - 1).tolist(), start=1):
        v = v * (1 - STEP_S) + 0.4 * float(np.sqrt(STEP_S)) * xi
        x = x + v * STEP_S
        if not 0 <= x <= 1:
            x, v = (-x if x < 0 else 2 - x), -v
        position[step] = x
    rate_hz = BASELINE_HZ + CELLS["peak_hz"].to_numpy()[:, None] * field(position)
    noise_hz = np.random.default_rng(0).uniform(1, 5, N_NOISE)
    place = np.random.default_rng(123).random((len(CELLS), N_STEPS)) < rate_hz * STEP_S
    noise = np.random.default_rng(456).random((N_NOISE, N_STEPS)) < (noise_hz * STEP_S)[:, None]
    return Simulation(spikes=np.concatenate([place, noise]), position=position, noise_hz=noise_hz)


def field(position: Floats) -> Floats:
    """(4, n) field of each cell at these positions, 1 at its centre: ``exp(-((x - c)/s)²/2)``, s by side."""
    centre, left, right = (CELLS[name].to_numpy()[:, None] for name in ("centre", "width_left", "width_right"))
    return np.asarray(np.exp(-(((position - centre) / np.where(position < centre, left, right)) ** 2) / 2))


class PlaceCells1D:
    """The one session; spikes lie at the centre of their 10 ms step."""

    def card(self) -> DatasetCard:
        """What is simulated."""
        return _CARD

    def session_ids(self) -> Sequence[str]:
        """The one session."""
        return (SESSION_ID,)

    def load(self, session_id: str) -> Session:
        """The simulated session; ``truth`` has ``cells`` (as `CELLS`) and ``noise_hz``."""
        if session_id != SESSION_ID:
            raise DatasetUnavailable(f"place-cells-1d: {unknown_name('session', session_id, self.session_ids())}")
        simulated = simulate()
        centres_s = (np.arange(N_STEPS, dtype=np.float64) + 0.5) * STEP_S
        ids = [*CELLS.index, *(f"noise-{unit}" for unit in range(N_NOISE))]
        kinds = ["place"] * len(CELLS) + ["noise"] * N_NOISE
        return Session(
            session_id=SESSION_ID,
            span_s=(0.0, N_STEPS * STEP_S),
            subject="simulated",
            units=pd.DataFrame({"id": ids, "region": "", "kind": kinds}),
            spike_times=SpikeTrains.from_units([centres_s[fired] for fired in simulated.spikes]),
            signals={
                "position": Signal(
                    name="position",
                    times_s=centres_s,
                    values=simulated.position,
                    kind="position",
                    channels=("x",),
                    physical_unit="track",
                )
            },
            truth={"cells": CELLS, "noise_hz": simulated.noise_hz},
        )


N_BINS = 40
GATES: Mapping[str, str] = MappingProxyType(
    {
        "shape": "1 - RMSE between the peak-normalised curve and the field is at least .6",
        "peak": "the curve's peak lies within .075 of the centre",
        "outside": "the peak-normalised curve is on average at most .4 beyond two widths from the centre",
        "active": "at least 100 active bins",
        "active_in_field": "at least 20 active bins within two widths of the centre",
        "conditional_z": "the cell's mean z score in active bins is at least .3",
        "strongest_z": "no other unit's mean z score in active bins is larger",
        "weight": "the cell's weight in the decoder row of unit length is at least .1",
        "strongest_weight": "no other unit's weight in it is larger",
    }
)
"""What each gate asks of a latent, by name."""


def gates(space: LatentSpace, data: Binned, dictionary: Dictionary) -> pd.DataFrame:
    """For every instance and place cell the latent that passes most gates, and which it passes.

    Of latents that pass as many, the one whose curve is nearest to the field. Curves are mean activations over 40 equal
    bins of the track, divided by their peak. Signed codes enter as rectified halves, with the sign of their decoder
    row.

    Parameters
    ----------
    data : bins of this dataset with the covariate ``position``, the rows of `space`

    Returns
    -------
    DataFrame
        Columns ``instance``, ``cell``, ``latent``, ``sign``, the values ``similarity`` (1 - RMSE), ``peak_at``,
        ``mean_outside``, ``n_active``, ``n_in_field``, ``unit_z``, ``unit_weight``, one bool column per gate of
        `GATES`, ``found`` (all of them) and ``failed`` (names of the others).

    Raises
    ------
    IncompatibleData
        Other units than this dataset's, or latents of other rows.
    """
    ids = data.units["id"].tolist()
    if not set(CELLS.index) <= set(ids) or space.n_rows != data.n_bins:
        raise IncompatibleData(
            f"{len(ids)} units on {data.n_bins} bins and latents of {space.n_rows} rows; expected the place cells "
            f"{', '.join(CELLS.index)} and one row per bin of place-cells-1d"
        )
    units = np.array([ids.index(cell) for cell in CELLS.index])
    tables = [_scored(space, data, dictionary.values[i], units, i) for i in range(space.n_instances)]
    return pd.concat(tables, ignore_index=True)


def _scored(
    space: LatentSpace, data: Binned, weights: NDArray[np.float32], units: NDArray[np.int64], instance: int
) -> pd.DataFrame:
    codes = rectified(space, instance)
    latent, sign = rectified_columns(space)
    rows_of_decoder = weights[latent].astype(np.float64) * np.where(sign < 0, -1, 1)[:, None]
    similarity, values, passed = _evidence(codes, data, rows_of_decoder, units)
    best = np.lexsort((-similarity, -np.sum(list(passed.values()), axis=0)), axis=1)[:, 0]

    def of_best(by_cell: NDArray[Any]) -> NDArray[Any]:
        return np.take_along_axis(by_cell, best[:, None], axis=1)[:, 0]

    table = pd.DataFrame({"instance": instance, "cell": CELLS.index, "latent": latent[best], "sign": sign[best]})
    for name, by_cell in {"similarity": similarity, **values, **passed}.items():
        table[name] = of_best(by_cell)
    table["found"] = table[list(GATES)].all(axis=1)
    table["failed"] = [", ".join(name for name in GATES if not row[name]) for _, row in table.iterrows()]
    return table


def _evidence(
    codes: sparse.csc_array, data: Binned, rows_of_decoder: Floats, units: NDArray[np.int64]
) -> tuple[Floats, dict[str, NDArray[Any]], dict[str, NDArray[np.bool_]]]:
    """Similarity to each field, further values, and gates passed, each (4, n_columns)."""
    position = data.covariate("position").values[:, 0]
    edges = np.linspace(0, 1, N_BINS + 1)
    along = (edges[:-1] + edges[1:]) / 2
    normalised = _curves(codes, position, edges)
    low, high = (CELLS["centre"] + side * 2 * CELLS[f"width_{name}"] for side, name in ((-1, "left"), (1, "right")))
    outside = (along < low.to_numpy()[:, None]) | (along > high.to_numpy()[:, None])
    inside = (position >= low.to_numpy()[:, None]) & (position <= high.to_numpy()[:, None])
    active = codes > 0
    n_active = np.asarray(active.sum(axis=0), dtype=np.int64)
    z = _standardised(np.asarray(data.activity, dtype=np.float64))
    mean_z = (active.T @ z) / np.maximum(n_active, 1)[:, None]
    length = np.linalg.norm(rows_of_decoder, axis=1, keepdims=True)
    unit_weight = np.divide(rows_of_decoder, length, out=np.zeros_like(rows_of_decoder), where=length > 0)
    similarity = np.stack([1 - np.sqrt(np.mean((normalised - shape) ** 2, axis=1)) for shape in field(along)])
    values: dict[str, NDArray[Any]] = {
        "peak_at": np.tile(np.where(n_active > 0, along[np.nan_to_num(normalised).argmax(axis=1)], np.nan), (4, 1)),
        "mean_outside": np.stack([normalised[:, beyond].mean(axis=1) for beyond in outside]),
        "n_active": np.tile(n_active, (4, 1)),
        "n_in_field": np.asarray(active.T @ inside.T.astype(np.int64)).T,
        "unit_z": mean_z[:, units].T,
        "unit_weight": unit_weight[:, units].T,
    }
    passed = {
        "shape": similarity >= 0.6,
        "peak": np.abs(values["peak_at"] - CELLS["centre"].to_numpy()[:, None]) <= 0.075,
        "outside": values["mean_outside"] <= 0.4,
        "active": values["n_active"] >= 100,
        "active_in_field": values["n_in_field"] >= 20,
        "conditional_z": values["unit_z"] >= 0.3,
        "strongest_z": values["unit_z"] >= mean_z.max(axis=1),
        "weight": values["unit_weight"] >= 0.1,
        "strongest_weight": values["unit_weight"] >= unit_weight.max(axis=1),
    }
    return similarity, values, passed


def _curves(codes: sparse.csc_array, position: Floats, edges: Floats) -> Floats:
    """(n_columns, 40) mean activation along the track over its peak; NaN for a silent latent."""
    codes_of_bin = np.clip(np.digitize(position, edges) - 1, 0, N_BINS - 1).astype(np.int32)
    along = Conditions(
        variable="position",
        kind="position",
        codes=codes_of_bin,
        labels=tuple(f"{low:.3f} to {high:.3f}" for low, high in pairwise(edges.tolist())),
        centres=(edges[:-1] + edges[1:]) / 2,
        edges=(edges,),
    )
    curves = np.nan_to_num(condition_means(codes, along, np.ones(len(position), dtype=bool)).mean)
    peak = curves.max(axis=1, keepdims=True)
    return np.asarray(np.divide(curves, peak, out=np.full_like(curves, np.nan), where=peak > 0))


def _standardised(activity: Floats) -> Floats:
    spread = activity.std(axis=0)
    centred = activity - activity.mean(axis=0)
    return np.asarray(np.divide(centred, spread, out=np.zeros_like(activity), where=spread > 0))
