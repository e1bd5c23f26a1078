"""What is decided before a run's model is fitted for good: its size, and which units it is fitted on."""

from __future__ import annotations

import pandas as pd

from nldisco_core.binned import SPLITS, Binned
from nldisco_core.choosing import choose
from nldisco_core.config import ModelConfig
from nldisco_core.cosmoothing import without_units
from nldisco_core.interfaces import LatentModel
from nldisco_core.metrics import evaluate
from nldisco_core.monitoring import FitMonitor
from nldisco_core.plugins import Listed
from nldisco_core.pruning import poorly_reconstructed

__all__ = ["Preparation"]


class Preparation:
    """Decisions on one model and its data, made on training and validation bins alone.

    Attributes
    ----------
    config : of the model, with every size stated
    counts, data : the bins before and after preprocessing
    tables : what was decided on, by name
    notes : what was decided, in words
    """

    def __init__(self, listed: Listed, config: ModelConfig, counts: Binned, data: Binned, *, quiet: bool) -> None:
        self._listed, self._quiet = listed, quiet
        self.config, self.counts, self.data = config, counts, data
        self.tables: dict[str, pd.DataFrame] = {}
        self.notes: tuple[str, ...] = ()

    def choose_size(self) -> None:
        """Take the candidate that `nldisco_core.choosing.choose` finds, where the configuration leaves its size."""
        candidates = self.config.candidates(n_units=self.data.n_units if self.data.shares_units else 0)
        if not candidates:
            return
        spikes = self.counts if self.counts.activity_kind == "counts" else None
        choice = choose(self._fitted, candidates, self.data, counts=spikes, seeds=self.config.seeds)
        self.config = choice.config
        self.tables["choice"] = choice.table
        self.notes = (*self.notes, *choice.notes)

    def prune(self, min_r2: float) -> None:
        """Leave out the units that a first fit reconstructs with R² of `min_r2` or less."""
        model = self._fitted("before pruning", self.config)
        found = evaluate(model, model.transform(self.data), self.data)
        pruning = poorly_reconstructed(found, min_r2=min_r2)
        self.tables["pruning"] = pruning.table
        self.tables["unit_metrics_before_pruning"] = found.units
        self.notes = (*self.notes, pruning.note)
        self.counts = without_units(self.counts, pruning.dropped)
        self.data = without_units(self.data, pruning.dropped)

    def _fitted(self, label: str, config: ModelConfig) -> LatentModel:
        model: LatentModel = self._listed.load()(config)
        held_out = (self.data.split == SPLITS.index("validation")).any()
        monitor = FitMonitor(f"fit {self._listed.name}, {label}", quiet=self._quiet)
        try:
            model.fit(self.data.train(), validation=self.data.part("validation") if held_out else None, monitor=monitor)
        finally:
            monitor.close()
        return model
