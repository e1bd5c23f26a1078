"""Four place cells on a line among 96 units without any tuning: a small simulation that is the same bit by bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.binned import Binned
from nldisco_core.errors import DatasetUnavailable, IncompatibleData, unknown_name
from nldisco_core.interfaces import Dataset, DatasetCard, Dictionary
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
    defaults={"bin.bin_s": 0.05},
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
        centres_s = (np.arange(N_STEPS) + 0.5) * STEP_S
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
