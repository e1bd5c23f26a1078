"""Simulated reaches through mazes in the file layouts of MC_Maze, with known truth, read by whoever reads MC_Maze."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from filelock import FileLock
from pydantic import Field

from nldisco_core.cache import cache_folder
from nldisco_core.config import Config
from nldisco_core.errors import DatasetUnavailable, unknown_name
from nldisco_core.interfaces import Dataset, DatasetCard
from nldisco_core.plugins import make
from nldisco_core.recovery import FeatureTruth
from nldisco_core.session import DeferredMapping, Session
from nldisco_datasets.maze_reach_population import (
    Population,
    draw_population,
    feature_table,
    feature_truth,
    spike_trains,
)
from nldisco_datasets.maze_reach_task import VERSIONS, Mazes, draw_mazes, draw_trials

__all__ = ["MazeReach", "MazeReachConfig", "Simulation"]

logger = logging.getLogger(__name__)

MADE_AS = 1
"""Part of the file names: raised whenever other files come out, so that old ones are not taken for new."""

RESTART_GAP_S = 1.0  # between the end of one clock and the start of the next


class MazeReachConfig(Config):
    """Size of the simulated session and the layout of its file.

    Attributes
    ----------
    seed : of everything that is drawn: mazes, trials, units, spikes
    n_trials : all that are recorded; about one in thirteen is of the kinds that cleaning drops
    n_mazes : each comes in three versions
    layout : ``000070``, or ``nlb`` for a training and a test file without the trials that cleaning drops
    clock_restart : half way the clock starts anew, as in some sessions of 000070
    folder : where the files are kept; None is the cache
    """

    seed: int = Field(default=0, ge=0)
    n_trials: int = Field(default=2160, ge=2)
    n_units: int = Field(default=192, ge=4)
    n_mazes: int = Field(default=36, ge=1, le=80)
    layout: Literal["000070", "nlb"] = "000070"
    clock_restart: bool = False
    folder: Path | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Simulation:
    """Everything that is drawn for one configuration; the same each time.

    Attributes
    ----------
    trials : see `maze_reach_task.draw_trials`, on a clock without restarts
    restart : row of the trial with which the clock starts anew, None where it does not
    """

    mazes: Mazes
    trials: pd.DataFrame
    population: Population
    restart: int | None
    seeds: tuple[np.random.SeedSequence, ...]

    @classmethod
    def of(cls, config: MazeReachConfig) -> Simulation:
        """Draw mazes, trials and units; spikes and behaviour follow from these and two seeds."""
        maze_seed, trial_seed, unit_seed, *others = np.random.SeedSequence(config.seed).spawn(5)
        mazes = draw_mazes(config.n_mazes, np.random.default_rng(maze_seed))
        trials = draw_trials(mazes, config.n_trials, np.random.default_rng(trial_seed))
        restart = config.n_trials // 2 if config.clock_restart else None
        if restart is not None:
            gap = trials["start"].iloc[restart] - trials["stop"].iloc[restart - 1]
            times = ["start", "target_on", "go_cue", "move_begins", "move_ends", "stop"]
            trials.loc[restart:, times] += RESTART_GAP_S - gap
        population = draw_population(
            feature_table(config.n_mazes), config.n_units, config.n_trials, np.random.default_rng(unit_seed)
        )
        return cls(mazes=mazes, trials=trials, population=population, restart=restart, seeds=tuple(others))

    @cached_property
    def truth(self) -> FeatureTruth:
        """Features over time and what each adds to each unit (Hz)."""
        return feature_truth(self.trials, self.population.mixing_hz, len(self.mazes.hit))


class MazeReach:
    """A simulated M1 and PMd session, kept as a file and read by the dataset ``mc-maze``."""

    def __init__(self, config: MazeReachConfig) -> None:
        self._config = config

    def card(self) -> DatasetCard:
        """What is simulated, and settings that suit it."""
        config = self._config
        return DatasetCard(
            title="Simulated reaches through mazes with known features (M1 and PMd)",
            species="simulated",
            area="none (units are called PMd and M1 after what drives them)",
            licence="BSD-3-Clause",
            citation="none: simulated here",
            source="nldisco_datasets.maze_reach",
            sizes={
                "sessions": len(self.session_ids()),
                "units": config.n_units,
                "trials": config.n_trials,
                "conditions": VERSIONS * config.n_mazes,
                "features": len(feature_table(config.n_mazes)),
            },
            description=(
                "Delayed reaches, straight and bent, in the file layout of MC_Maze. Each of the features (phases, "
                "direction, fast movement in a direction, speed, target, maze) drives an eighth of the units. "
                "Truth per feature over time."
            ),
            defaults={"bin.bin_s": 0.05, "bin.trials": "trials", "bin.only_trials": True},
        )

    def session_ids(self) -> Sequence[str]:
        """The one session, or the two parts of the benchmark, named by the seed."""
        own = f"maze-reach-{self._config.seed}"
        return (own,) if self._config.layout == "000070" else (f"{own}-train", f"{own}-test")

    def load(self, session_id: str) -> Session:
        """The session as the dataset ``mc-maze`` reads it from the file, which is made where it is not there yet.

        ``truth["features"]`` is a `FeatureTruth` with weights in Hz, worked out when asked for; ``baseline_hz`` is the
        rate of each unit without any feature, ``gain`` the factor of all rates in each recorded trial.
        """
        ids = self.session_ids()
        if session_id not in ids:
            raise DatasetUnavailable(f"maze-reach: {unknown_name('session', session_id, ids)}")
        simulation = Simulation.of(self._config)
        file = self._files(simulation)[ids.index(session_id)]
        reader: Dataset = make("dataset", "mc-maze", {"path": str(file)})
        session = reader.load(next(iter(reader.session_ids())))
        return replace(session, session_id=session_id, truth=_truth(simulation, session.n_units))

    def files(self) -> tuple[Path, ...]:
        """The files of the session, made where they are not there yet."""
        return self._files(Simulation.of(self._config))

    def _files(self, simulation: Simulation) -> tuple[Path, ...]:
        from nldisco_datasets.maze_reach_file import nlb_names

        config = self._config
        size = f"{config.n_trials}-trials_{config.n_units}-units_{config.n_mazes}-mazes"
        kind = config.layout + ("-restart" if config.clock_restart else "")
        base = config.folder or cache_folder("maze-reach")
        folder = base / f"v{MADE_AS}_seed-{config.seed}_{size}_{kind}"
        names: tuple[str, ...] = (f"sub-Simulated_ses-{config.seed:08d}_behavior+ecephys.nwb",)
        if config.layout == "nlb":
            names = nlb_names("Simulated", f"seed{config.seed}")
        files = tuple(folder / name for name in names)
        if not all(file.is_file() for file in files):
            _make(folder, files, simulation)
        return files


def _make(folder: Path, files: Sequence[Path], simulation: Simulation) -> None:
    """Write the files under other names and rename them when whole; of several processes one does it."""
    from nldisco_datasets.maze_reach_file import record, write_000070, write_nlb

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            if all(file.is_file() for file in files):
                return
            logger.info("simulating %s", folder)
            partial_files = [folder / f"partial_{file.name}" for file in files]
            spike_seed, sample_seed = simulation.seeds
            spikes = spike_trains(
                simulation.trials, simulation.truth, simulation.population, np.random.default_rng(spike_seed)
            )
            recorded = record(
                simulation.trials, spikes, simulation.population.region, np.random.default_rng(sample_seed)
            )
            if len(files) == 2:
                write_nlb(partial_files[0], partial_files[1], recorded, simulation.mazes)
            else:
                write_000070(partial_files[0], _restarted(recorded, simulation.restart), simulation.mazes)
            for made, file in zip(partial_files, files, strict=True):
                made.rename(file)
    except OSError as error:
        raise DatasetUnavailable(
            f"maze-reach: cannot write {folder} ({error}); name another with dataset.folder, or set NLDISCO_CACHE"
        ) from error


def _restarted(recorded: Any, restart: int | None) -> Any:
    """The same on the clock of the file, which starts anew at the trial `restart`."""
    if restart is None:
        return recorded
    trials = recorded.trials.copy()
    start = float(trials["start"].iloc[restart])
    times = ["start", "target_on", "go_cue", "move_begins", "move_ends", "stop"]
    trials.loc[restart:, times] -= start
    shifted = [np.where(train >= start, train - start, train) for train in recorded.spikes]
    late = recorded.times_s >= start
    return replace(
        recorded, trials=trials, spikes=shifted, times_s=np.where(late, recorded.times_s - start, recorded.times_s)
    )


def _truth(simulation: Simulation, n_units: int) -> DeferredMapping[Any]:
    """Truth of the units that the file holds, those of the test part being the ones that are not held out."""
    population = simulation.population
    kept = np.arange(len(population.baseline_hz))
    if n_units < len(kept):
        from nldisco_datasets.maze_reach_file import HELD_OUT

        kept = kept[kept % HELD_OUT != HELD_OUT - 1]
    readers: dict[str, Callable[[], Any]] = {
        "features": partial(_features, simulation, kept),
        "baseline_hz": lambda: population.baseline_hz[kept],
        "gain": lambda: population.gain,
    }
    return DeferredMapping(readers)


def _features(simulation: Simulation, kept: np.ndarray[Any, Any]) -> FeatureTruth:
    return replace(simulation.truth, mixing=simulation.truth.mixing[:, kept])
