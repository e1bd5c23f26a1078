"""The rats' hippocampus: epochs, names that begin with a digit, and the running direction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nldisco_nwb.rat_hippocampus import DIRECTIONS, RatHippocampus, RatHippocampusConfig, running_direction
from pynwb import NWBFile, TimeSeries
from pynwb.behavior import BehavioralTimeSeries, Position, SpatialSeries
from pynwb.epoch import TimeIntervals

from nldisco_core.binning import bin_session
from nldisco_core.conformance.datasets import check_dataset
from nldisco_core.errors import DatasetUnavailable
from nldisco_core.interfaces import Downloads
from nldisco_core.plugins import make
from nldisco_core.session import Session

NAME = "sub-Achilles_ses-Achilles-10252013_behavior+ecephys.nwb"
LAP_S = 10.0
TIMES_S = np.arange(100.0, 200.0, 1 / 39.0)


def track(times_s: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """To and fro on 1.6 m, four seconds each way, one second still at either end."""
    phase = times_s % LAP_S
    return 1.6 * np.interp(phase, [0, 4, 5, 9, 10], [0, 1, 1, 0, 0])


def recording(maze: str = "1.6mLinearMaze") -> Any:
    def fill(file: NWBFile) -> None:
        rng = np.random.default_rng(0)
        for name in ("cell_type", "location", "shank_id"):
            file.add_unit_column(name, name)
        for unit in range(4):
            kind = "excitatory" if unit < 3 else "inhibitory"
            spikes = np.sort(rng.uniform(0, 300, 300))
            file.add_unit(spike_times=spikes, cell_type=kind, location="CA1", shank_id=unit)
        file.add_epoch_column("label", "label")
        for start, stop, label in ((0.0, 100.0, "PRE"), (100.0, 200.0, "MAZE"), (200.0, 300.0, "POST")):
            file.add_epoch(start_time=start, stop_time=stop, label=label)
        module = file.create_processing_module("behavior", "behaviour")
        place = track(TIMES_S)
        plane = SpatialSeries(
            name=f"{maze}SpatialSeries",
            data=np.column_stack([place, np.zeros_like(place)]),
            timestamps=TIMES_S,
            reference_frame="room",
            unit="meters",
        )
        module.add(Position(name=f"{maze}Position", spatial_series=plane))
        line = TimeSeries(name=f"{maze}TimeSeries", data=place, timestamps=TIMES_S, unit="meters")
        module.add(BehavioralTimeSeries(name=f"{maze}LinearizedPosition", time_series=line))
        states = TimeIntervals(name="states", description="sleep states")
        states.add_column("label", "state")
        states.add_interval(start_time=0.0, stop_time=60.0, label="nrem")
        states.add_interval(start_time=60.0, stop_time=100.0, label="rem")
        module.add(states)

    return fill


@pytest.fixture
def path(write: Any) -> Path:
    made: Path = write(recording(), name=NAME)
    return made


@pytest.fixture
def session(path: Path) -> Session:
    data = RatHippocampus(RatHippocampusConfig(path=path.parent))
    assert data.session_ids() == ("achilles-10252013",)
    return data.load("achilles-10252013")


def test_it_passes_the_conformance_kit(path: Path) -> None:
    results = check_dataset(lambda settings: make("dataset", "rat-hippocampus", {"path": str(path), **settings}))
    assert [str(result) for result in results if result.status != "passed"] == []


def test_epochs_states_units_and_signals_have_plain_names(session: Session) -> None:
    assert session.intervals["epochs"].frame["label"].tolist() == ["PRE", "MAZE", "POST"]
    assert session.intervals["states"].frame["label"].tolist() == ["nrem", "rem"]
    assert session.units["kind"].tolist() == ["excitatory"] * 3 + ["inhibitory"]
    assert set(session.units["region"]) == {"CA1"}
    assert session.units["id"].iloc[0] == "achilles-10252013-0"
    assert set(session.signals) == {"position", "linear_position", "running_direction"}
    kinds = {name: (session.signals[name].kind, session.signals[name].physical_unit) for name in session.signals}
    assert kinds == {
        "position": ("position", "meters"),
        "linear_position": ("linear", "meters"),
        "running_direction": ("discrete", None),
    }


def test_the_running_direction_is_that_of_the_track_and_undefined_at_rest(session: Session) -> None:
    direction = session.signals["running_direction"]
    phase = direction.times_s % LAP_S
    outbound, inbound = (phase > 0.5) & (phase < 3.5), (phase > 5.5) & (phase < 8.5)
    assert direction.categories == DIRECTIONS
    assert (direction.values[outbound, 0] == DIRECTIONS.index("outbound")).all()
    assert (direction.values[inbound, 0] == DIRECTIONS.index("inbound")).all()
    still = (phase > 4.4) & (phase < 4.6)
    assert np.isnan(direction.values[still, 0]).all()


def test_missing_positions_give_no_direction_and_gaps_are_not_run_across(session: Session) -> None:
    whole = session.signals["linear_position"]
    values = whole.values.copy()
    values[100:140] = np.nan
    found = running_direction("d", replace(whole, values=values))
    assert np.isnan(found.values[100:140]).all()
    apart = replace(whole, times_s=np.array([0.0, 50.0, 50.02]), values=np.array([[0.0], [1.0], [1.0]]))
    assert np.isnan(running_direction("d", apart).values).all()


def test_the_maze_epoch_is_the_default_and_bins_hold_direction(session: Session, path: Path) -> None:
    card = RatHippocampus(RatHippocampusConfig(path=path)).card()
    assert card.defaults["bin.epoch"] == "MAZE"
    binned = bin_session(session, bin_s=0.1, epoch="MAZE")
    assert binned.n_bins == 1000
    assert binned.covariates["running_direction"].kind == "discrete"
    assert binned.covariates["running_direction"].defined.mean() > 0.7


def test_a_second_maze_keeps_its_name(write: Any) -> None:
    def two(file: NWBFile) -> None:
        recording("1mCircularMaze")(file)
        module = file.processing["behavior"]
        line = TimeSeries(name="1.6mLinearMazeTimeSeries", data=track(TIMES_S), timestamps=TIMES_S, unit="meters")
        module.add(BehavioralTimeSeries(name="1.6mLinearMazeLinearizedPosition", time_series=line))

    path = write(two, name=NAME)
    data = RatHippocampus(RatHippocampusConfig(path=path))
    names = set(data.load(data.session_ids()[0]).signals)
    assert {"linear_position", "1mCircularMaze_linear_position", "1mCircularMaze_running_direction"} <= names


def test_without_files_it_says_what_to_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NLDISCO_CACHE", str(tmp_path))
    data = RatHippocampus(RatHippocampusConfig(subject="buddy"))
    assert isinstance(data, Downloads)
    with pytest.raises(DatasetUnavailable, match=r"nldisco datasets get rat-hippocampus --subject buddy.*000044"):
        data.session_ids()
    assert data.card().source == "DANDI 000044"


def test_an_unknown_session_names_those_there_are(path: Path) -> None:
    with pytest.raises(DatasetUnavailable, match="achilles-10252013"):
        RatHippocampus(RatHippocampusConfig(path=path)).load("achilles-1")
