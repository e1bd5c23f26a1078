"""A simulated recording with known truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from pydantic import Field

from nldisco_core.config import Config
from nldisco_core.errors import DatasetUnavailable, unknown_name
from nldisco_core.interfaces import DatasetCard
from nldisco_core.session import Session, Signal, SpikeTrains

SESSION_ID = "track-1"
STEP_S = 0.01


class TrackConfig(Config):
    """How much is simulated."""

    n_units: int = Field(default=12, ge=1)
    duration_s: float = Field(default=300.0, gt=1, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0)


class Track:
    """Poisson units with Gaussian place fields, while the animal wanders on a track of 100 cm."""

    def __init__(self, config: TrackConfig) -> None:
        self.config = config

    def card(self) -> DatasetCard:
        """What a reader has to know before loading it."""
        return DatasetCard(
            title="Simulated place cells on a linear track",
            species="none (simulated)",
            area="none (simulated)",
            licence="CC0-1.0",
            citation="none",
            source="simulated by nldisco-example-plugin",
            sizes={"sessions": 1, "units": self.config.n_units},
        )

    def session_ids(self) -> Sequence[str]:
        """The one session."""
        return (SESSION_ID,)

    def load(self, session_id: str) -> Session:
        """Simulate it; the same seed gives the same spikes."""
        if session_id != SESSION_ID:
            raise DatasetUnavailable(unknown_name("session", session_id, self.session_ids()))
        rng = np.random.default_rng(self.config.seed)
        times_s = np.arange(round(self.config.duration_s / STEP_S), dtype=np.float64) * STEP_S
        wander_cm = 50 + np.cumsum(rng.normal(0, 3, len(times_s)))
        position_cm = np.abs((wander_cm + 100) % 200 - 100)
        field_cm = np.linspace(0, 100, self.config.n_units)
        rate_hz = 1 + 20 * np.exp(-(((position_cm[:, None] - field_cm) / 12) ** 2) / 2)
        counts = rng.poisson(rate_hz * STEP_S)
        trains = [np.repeat(times_s, counts[:, unit]) for unit in range(self.config.n_units)]
        units = pd.DataFrame({"id": [f"place-{unit}" for unit in range(self.config.n_units)], "region": "", "kind": ""})
        position = Signal(name="position", times_s=times_s, values=position_cm, kind="linear", physical_unit="cm")
        return Session(
            session_id=SESSION_ID,
            span_s=(0.0, self.config.duration_s),
            units=units,
            spike_times=SpikeTrains.from_units(trains),
            signals={"position": position},
            truth={"field_cm": field_cm},
        )
