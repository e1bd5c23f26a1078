"""The toy dataset, and whole runs of installed models on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nldisco_core.composition import compose
from nldisco_core.config import Config
from nldisco_core.conformance import toy_plugin
from nldisco_core.conformance.toys import toy_session
from nldisco_core.errors import PluginNotFound
from nldisco_core.interfaces import DatasetCard
from nldisco_core.pipeline import execute
from nldisco_core.plugins import registry
from nldisco_core.runs import Run
from nldisco_core.session import Session

__all__ = ["ToyConfig", "ToyDataset", "toy_run"]


class ToyConfig(Config):
    """Size of the toy dataset."""

    n_sessions: int = 1
    n_units: int = 6
    duration_s: float = 120.0


class ToyDataset:
    """Toy sessions as a dataset."""

    def __init__(self, config: ToyConfig) -> None:
        self._config = config

    def card(self) -> DatasetCard:
        """What the toy is."""
        return DatasetCard(
            title="Toy heading cells",
            species="simulated",
            area="none",
            licence="BSD-3-Clause",
            citation="none: simulated here",
            source="nldisco_core.conformance.toys",
            sizes={"sessions": self._config.n_sessions, "units": self._config.n_units},
        )

    def session_ids(self) -> Sequence[str]:
        """``toy-1``, ``toy-2``, …"""
        return tuple(f"toy-{index + 1}" for index in range(self._config.n_sessions))

    def load(self, session_id: str) -> Session:
        """One simulated session; its number is its seed."""
        return toy_session(
            n_units=self._config.n_units,
            duration_s=self._config.duration_s,
            seed=int(session_id.removeprefix("toy-")),
            session_id=session_id,
        )


def toy_run(
    runs_dir: Path,
    *,
    model: str,
    mappers: Sequence[str] = (),
    controls: Sequence[str] = (),
    assignments: Sequence[str] = (),
) -> Run:
    """A finished run of an installed model on the toy dataset."""
    try:
        registry().listed("dataset", "toy")
    except PluginNotFound:
        registry().add("toys", toy_plugin, distribution="nldisco-core", version="")
    config = compose(dataset="toy", model=model, mappers=mappers, controls=controls, assignments=assignments)
    return execute(config, runs_dir=runs_dir, quiet=True)
