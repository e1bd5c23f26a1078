"""`maze-reach` as NWB files laid out like those of DANDI 000070 and of the Neural Latents Benchmark."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import numpy as np
import pandas as pd
from hdmf.common import DynamicTableRegion, VectorData, VectorIndex
from numpy.typing import NDArray
from pynwb import NWBHDF5IO, H5DataIO, NWBFile, TimeSeries
from pynwb.behavior import Position, SpatialSeries
from pynwb.ecephys import LFP, ElectricalSeries
from pynwb.epoch import TimeIntervals
from pynwb.file import Subject
from pynwb.misc import Units

from nldisco_datasets.maze_reach_task import VERSIONS, Mazes, reach

__all__ = ["Recorded", "nlb_names", "record", "write_000070", "write_nlb"]

SAMPLES_PER_S = 1000
TREMOR_MM, TREMOR_HZ = 0.4, 1.5
EYE_LATENCY_S, EYE_NOISE_MM = 0.2, 2.0
HAND_BELOW_CURSOR_MM = 35.0
HELD_OUT, TEST_SHARE, VALIDATION_SHARE = 4, 0.2, 0.25  # every fourth unit; shares of all and of the other trials
BARRIER_LIMIT = 127  # the archive keeps targets in single bytes, negative ones wrapped

_TIMES = ("start", "target_on", "go_cue", "move_begins", "move_ends", "stop")
_DESCRIBED = "simulated"

Floats = NDArray[np.float64]
P = ParamSpec("P")


@dataclass(frozen=True, kw_only=True, eq=False)
class Recorded:
    """What a file holds, on the clock that it is written with.

    Attributes
    ----------
    trials : see `maze_reach_task.draw_trials`
    spikes : per unit its times (s), trial after trial
    region : of each unit
    times_s : (n_samples,) s, at 1 kHz and only inside trials
    trial_of_sample : (n_samples,)
    cursor, eye, hand : (n_samples, 2) float32 mm
    """

    trials: pd.DataFrame
    spikes: Sequence[Floats]
    region: tuple[str, ...]
    times_s: Floats
    trial_of_sample: NDArray[np.int64]
    cursor: NDArray[np.float32]
    eye: NDArray[np.float32]
    hand: NDArray[np.float32]


def record(
    trials: pd.DataFrame, spikes: Sequence[Floats], region: tuple[str, ...], rng: np.random.Generator
) -> Recorded:
    """Sample the behaviour of the trials at 1 kHz, with a slow tremor and a restless eye."""
    first, stop = (np.rint(trials[name].to_numpy() * SAMPLES_PER_S).astype(np.int64) for name in ("start", "stop"))
    n_samples = stop - first
    times_s = np.empty(n_samples.sum())
    cursor, eye, hand = (np.empty((len(times_s), 2), dtype=np.float32) for _ in range(3))
    at = 0
    for trial, length in enumerate(n_samples.tolist()):
        rows = slice(at, at + length)
        at += length
        own_s = (first[trial] + np.arange(length)) / SAMPLES_PER_S
        phase = rng.uniform(0, 2 * np.pi, 2)
        tremor = TREMOR_MM * np.sin(2 * np.pi * TREMOR_HZ * own_s[:, None] + phase)
        true = reach(trials, np.full(length, trial), own_s).position
        row = trials.iloc[trial]
        looks = own_s >= row["target_on"] + EYE_LATENCY_S
        times_s[rows] = own_s
        hand[rows] = true + tremor - (0.0, HAND_BELOW_CURSOR_MM)
        cursor[rows] = np.round(true + tremor, 1)
        fixed = np.where(looks[:, None], [row["end_x"], row["end_y"]], 0.0)
        eye[rows] = np.round(fixed + rng.normal(0, EYE_NOISE_MM, (length, 2)), 1)
    return Recorded(
        trials=trials,
        spikes=spikes,
        region=region,
        times_s=times_s,
        trial_of_sample=np.repeat(np.arange(len(trials)), n_samples),
        cursor=cursor,
        eye=eye,
        hand=hand,
    )


def _joined_later(write: Callable[P, None]) -> Callable[P, None]:
    """Silence what hdmf says of references to a table that joins the same file a moment later."""

    @wraps(write)
    def quietly(*args: P.args, **kwargs: P.kwargs) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The linked table for DynamicTableRegion")
            write(*args, **kwargs)

    return quietly


@_joined_later
def write_000070(path: Path, recorded: Recorded, mazes: Mazes) -> None:
    """One file as of DANDI 000070, with its sparse, unread LFP."""
    file, groups = _begin(path, recorded.region)
    file.units = _units(file, groups, recorded, np.arange(len(recorded.region)))
    file.trials = _trials_000070(recorded.trials, mazes)
    series: list[SpatialSeries] = []
    times = _stored(recorded.times_s)
    for name, values in (("Cursor", recorded.cursor), ("Eye", recorded.eye), ("Hand", recorded.hand)):
        series.append(
            SpatialSeries(
                name=name,
                data=_stored(values),
                timestamps=series[0] if series else times,
                unit="mm",
                reference_frame="centre of the screen",
                description=_DESCRIBED,
            )
        )
    file.create_processing_module("behavior", _DESCRIBED).add(Position(name="Position", spatial_series=series))
    _add_lfp(file, len(recorded.times_s))
    _write(path, file)


@_joined_later
def write_nlb(train: Path, test: Path, recorded: Recorded, mazes: Mazes) -> None:
    """Two files as of the Neural Latents Benchmark: every fifth trial of the sound ones is in `test`."""
    sound = np.flatnonzero(recorded.trials["fault"] == "")
    order = np.arange(len(sound))
    is_test = order % round(1 / TEST_SHARE) == 0
    units = np.arange(len(recorded.region))
    held_out = units % HELD_OUT == HELD_OUT - 1
    for path, rows, kept in ((train, sound[~is_test], units), (test, sound[is_test], units[~held_out])):
        part = _only(recorded, rows)
        file, groups = _begin(path, recorded.region)
        file.units = _units(file, groups, part, kept, heldout=held_out)
        file.trials = _trials_nlb(part.trials, mazes, is_test=path == test)
        if path == train:
            _add_nlb_behaviour(file, part)
        _write(path, file)


def nlb_names(subject: str, version: str) -> tuple[str, str]:
    """File names of the training and of the test part."""
    stem = f"sub-{subject}_ses-{version}_desc"
    return f"{stem}-train_behavior+ecephys.nwb", f"{stem}-test_ecephys.nwb"


def _only(recorded: Recorded, rows: NDArray[np.int64]) -> Recorded:
    trials = recorded.trials.iloc[rows].reset_index(drop=True)
    edges = trials[["start", "stop"]].to_numpy().ravel()
    kept = np.isin(recorded.trial_of_sample, rows)
    return Recorded(
        trials=trials,
        spikes=[train[np.searchsorted(edges, train, side="right") % 2 == 1] for train in recorded.spikes],
        region=recorded.region,
        times_s=recorded.times_s[kept],
        trial_of_sample=np.searchsorted(rows, recorded.trial_of_sample[kept]),
        cursor=recorded.cursor[kept],
        eye=recorded.eye[kept],
        hand=recorded.hand[kept],
    )


def _begin(path: Path, region: tuple[str, ...]) -> tuple[NWBFile, Mapping[str, Any]]:
    file = NWBFile(
        session_description="Simulated reaches through mazes: delay, go cue, bent reach. Not a recording.",
        identifier=path.stem,
        session_start_time=datetime(2026, 1, 1, tzinfo=UTC),
        subject=Subject(subject_id="Simulated", species="Macaca mulatta", description=_DESCRIBED),
    )
    device = file.create_device(name="Utah arrays", description=_DESCRIBED)
    groups = {
        name: file.create_electrode_group(name=name, description=place, location=place, device=device)
        for name, place in (("1", "PMd"), ("2", "M1"))
    }
    for place in region:
        group = groups["1" if place == "PMd" else "2"]
        file.add_electrode(x=0.0, y=0.0, z=0.0, imp=np.nan, location=place, filtering="none", group=group)
    return file, groups


def _units(
    file: NWBFile,
    groups: Mapping[str, Any],
    recorded: Recorded,
    kept: NDArray[np.int64],
    heldout: NDArray[np.bool_] | None = None,
) -> Units:
    spikes = [recorded.spikes[unit] for unit in kept]
    bounds = recorded.trials[["start", "stop"]].to_numpy(dtype=np.float64)
    times = VectorData(name="spike_times", description="s", data=_stored(np.concatenate(spikes)))
    observed = VectorData(name="obs_intervals", description="trials, s", data=_stored(np.tile(bounds, (len(kept), 1))))
    electrodes = DynamicTableRegion(name="electrodes", description="", data=kept.tolist(), table=file.electrodes)
    columns = [
        times,
        VectorIndex(name="spike_times_index", target=times, data=np.cumsum([len(train) for train in spikes])),
        observed,
        VectorIndex(
            name="obs_intervals_index",
            target=observed,
            data=(np.arange(1, len(kept) + 1) * len(bounds)).astype(np.uint32),
        ),
        electrodes,
        VectorIndex(name="electrodes_index", target=electrodes, data=np.arange(1, len(kept) + 1)),
    ]
    if heldout is None:
        members = [groups["1" if recorded.region[unit] == "PMd" else "2"] for unit in kept]
        columns.append(VectorData(name="electrode_group", description="array", data=members))
    else:
        columns.append(VectorData(name="heldout", description="not in the test file", data=heldout[kept]))
    return Units(name="units", description="threshold crossings", id=kept, columns=columns)


def _trials_000070(trials: pd.DataFrame, mazes: Mazes) -> TimeIntervals:
    condition = trials["condition"].to_numpy() - 1
    fault = trials["fault"].to_numpy()
    named = ("start_time", "target_presentation_time", "go_cue_time", "move_begins_time", "move_ends_time", "stop_time")
    targets = [
        np.clip(mazes.targets[c], -BARRIER_LIMIT, BARRIER_LIMIT).astype(np.int8).view(np.uint8) for c in condition
    ]
    barriers = [mazes.barriers[c].astype(np.int16) for c in condition]
    version = np.where(fault == "degenerate", 11, trials["version"])
    plain = {
        **{name: trials[own].to_numpy() for name, own in zip(named, _TIMES, strict=True)},
        "maze_condition": np.where(fault == "novel", mazes.n_conditions + 1, condition + 1).astype(np.uint8),
        "maze_num_targets": np.array([len(rows) for rows in targets], dtype=np.uint8),
        "maze_num_barriers": np.array([len(rows) for rows in barriers], dtype=np.uint8),
        "hit_target_position": mazes.hit[condition // VERSIONS].astype(np.int16),
        "target_size": np.full(len(trials), 15, dtype=np.uint8),
        "reaction_time": trials["move_begins"].to_numpy() - trials["go_cue"].to_numpy(),
        "trial_type": np.where(fault == "untyped", 0, 1).astype(np.uint8),
        "trial_version": version.astype(np.uint8),
        "novel_maze": (fault == "novel").astype(np.uint8),
        "task_success": (fault != "failed").astype(np.uint8),
        "discard_trial": (fault == "discarded").astype(np.uint8),
        "correct_reach": (fault != "odd").astype(np.uint8),
        "proto_trial": np.zeros(len(trials), dtype=np.uint8),
    }
    return _table(plain, {"target_positions": targets, "barrier_info": barriers})


def _trials_nlb(trials: pd.DataFrame, mazes: Mazes, *, is_test: bool) -> TimeIntervals:
    plain: dict[str, Any] = {
        "start_time": trials["start"].to_numpy(),
        "stop_time": trials["stop"].to_numpy(),
        "move_onset_time": trials["move_begins"].to_numpy(),
    }
    if is_test:
        return _table({**plain, "split": np.full(len(trials), "test", dtype=object)}, {})
    condition = trials["condition"].to_numpy() - 1
    targets, barriers = ([rows[c].astype(np.int64) for c in condition] for rows in (mazes.targets, mazes.barriers))
    hit = mazes.hit[condition // VERSIONS]
    is_hit = [int(np.flatnonzero((rows == own).all(axis=1))[0]) for rows, own in zip(targets, hit, strict=True)]
    validation = np.arange(len(trials)) % round(1 / VALIDATION_SHARE) == 0
    plain |= {
        "target_on_time": trials["target_on"].to_numpy(),
        "go_cue_time": trials["go_cue"].to_numpy(),
        "delay": np.rint(1e3 * (trials["go_cue"] - trials["target_on"])).to_numpy().astype(np.int64),
        "rt": np.rint(1e3 * (trials["move_begins"] - trials["go_cue"])).to_numpy().astype(np.int64),
        "trial_type": condition // VERSIONS,
        "maze_id": 100 + condition // VERSIONS,
        "trial_version": condition % VERSIONS,
        "num_targets": np.array([len(rows) for rows in targets]),
        "num_barriers": np.array([len(rows) for rows in barriers]),
        "active_target": np.array(is_hit),
        "success": np.ones(len(trials), dtype=bool),
        "split": np.where(validation, "val", "train").astype(object),
    }
    return _table(plain, {"target_pos": targets, "barrier_pos": barriers})


def _table(plain: Mapping[str, Any], ragged: Mapping[str, Sequence[NDArray[Any]]]) -> TimeIntervals:
    columns: list[Any] = [
        VectorData(name=name, description=_DESCRIBED, data=values.tolist() if values.dtype == object else values)
        for name, values in plain.items()
    ]
    for name, rows in ragged.items():
        data = VectorData(name=name, description=_DESCRIBED, data=np.concatenate(rows))
        columns += [data, VectorIndex(name=f"{name}_index", target=data, data=np.cumsum([len(row) for row in rows]))]
    n_trials = len(plain["start_time"])
    return TimeIntervals(name="trials", description="trials", id=np.arange(n_trials), columns=columns)


def _add_nlb_behaviour(file: NWBFile, recorded: Recorded) -> None:
    velocity = np.empty_like(recorded.hand)
    edges = np.flatnonzero(np.diff(recorded.trial_of_sample)) + 1
    for rows in np.split(np.arange(len(velocity)), edges):
        velocity[rows] = np.gradient(recorded.hand[rows].astype(np.float64), 1 / SAMPLES_PER_S, axis=0)
    module = file.create_processing_module("behavior", _DESCRIBED)
    first = None
    for name, unit, values in (
        ("cursor_pos", "mm", recorded.cursor),
        ("eye_pos", "mm", recorded.eye),
        ("hand_pos", "mm", recorded.hand),
        ("hand_vel", "mm/s", velocity),
    ):
        times = _stored(recorded.times_s) if first is None else first
        series = TimeSeries(name=name, data=_stored(values), timestamps=times, unit=unit, description="x, y")
        first = first or series
        module.add(series)


def _add_lfp(file: NWBFile, n_samples: int) -> None:
    """LFP of one array as the archive holds it, of which no chunk is ever written: it takes no room on disk."""
    electrodes = list(range(len(file.electrodes) // 2))
    empty = H5DataIO(shape=(n_samples, len(electrodes)), dtype=np.int16, chunks=(10_000, len(electrodes)))
    region = file.create_electrode_table_region(electrodes, "PMd")
    series = ElectricalSeries(name="A001", data=empty, electrodes=region, rate=float(SAMPLES_PER_S))
    module = file.create_processing_module("ecephys", _DESCRIBED)
    module.add(LFP(name="Processed", electrical_series=series))


def _stored(values: NDArray[Any]) -> H5DataIO:
    """In chunks of about a megabyte, so that a part is read without the rest."""
    rows = max(1, min(len(values), 2**20 // (values.itemsize * int(np.prod(values.shape[1:])))))
    return H5DataIO(values, chunks=(rows, *values.shape[1:]))


def _write(path: Path, file: NWBFile) -> None:
    with NWBHDF5IO(path, "w") as writer:
        writer.write(file, cache_spec=False)
