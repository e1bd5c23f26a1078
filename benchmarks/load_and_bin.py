"""From a file of 10 million spikes and an hour and more of behaviour at 1 kHz to bins, against plain pandas pivots."""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import subprocess
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from reporting import announce, conclude

from nldisco_core.binned import Binned
from nldisco_core.binning import bin_sessions
from nldisco_core.plugins import make

BIN_S = 0.05
SETTINGS = {"seed": 3}


def ours(path: Path) -> Binned:
    """Open, clean, bin and align every signal and column."""
    dataset = make("dataset", "mc-maze", {"path": str(path)})
    sessions = [dataset.load(name) for name in dataset.session_ids()]
    return bin_sessions(sessions, bin_s=BIN_S, trials="trials", only_trials=True)


def pivots(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same work as it is commonly done: long tables, each row given its trial and bin, and pivot tables of them."""
    with h5py.File(path) as file:
        table = file["intervals/trials"]
        columns = {name: table[name][:] for name in table if table[name].ndim == 1 and "index" not in name}
        trials = pd.DataFrame({name: values for name, values in columns.items() if len(values) == len(table["id"])})
        trials[["hit_x", "hit_y"]] = table["hit_target_position"][:]
        unit = np.repeat(np.arange(len(file["units/id"])), np.diff(file["units/spike_times_index"][:], prepend=0))
        spikes = pd.DataFrame({"unit": unit, "time": file["units/spike_times"][:]})
        position = file["processing/behavior/Position"]
        behaviour = pd.DataFrame({"time": position["Hand/timestamps"][:]})
        for name in ("Hand", "Cursor", "Eye"):
            behaviour[[f"{name}_x", f"{name}_y"]] = position[f"{name}/data"][:, :2].astype(np.float64)
    trials = _clean(trials)
    behaviour = _derived(_with_trial(behaviour, trials))
    spikes = _with_trial(spikes, trials)
    counts = spikes.assign(n=1).pivot_table(
        index=["trial", "bin"], columns="unit", values="n", aggfunc="sum", fill_value=0
    )
    wide = behaviour.drop(columns="time").melt(id_vars=["trial", "bin"], var_name="channel")
    means = wide.pivot_table(index=["trial", "bin"], columns="channel", values="value", aggfunc="mean")
    columns_of_trial = trials[["maze_condition", "trial_version", "maze_num_barriers", "hit_x", "hit_y"]]
    means = means.join(columns_of_trial, on="trial")
    return counts.reindex(means.index, fill_value=0), means


def _clean(trials: pd.DataFrame) -> pd.DataFrame:
    kept = (trials["trial_type"] > 0) & (trials["discard_trial"] == 0) & (trials["task_success"] == 1)
    kept &= (trials["novel_maze"] == 0) & (trials["trial_version"] < 3) & (trials["correct_reach"] == 1)
    return trials[kept & (trials["stop_time"] - trials["move_begins_time"] >= 0.8 - 1e-9)].reset_index(drop=True)


def _with_trial(rows: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """Rows with their trial, and their bin counted on the grid of the session."""
    intervals = pd.IntervalIndex.from_arrays(trials["start_time"], trials["stop_time"], closed="left")
    trial = intervals.get_indexer(rows["time"])
    rows = rows.assign(trial=trial, bin=np.floor(rows["time"] / BIN_S + 1e-6).astype(int))[trial >= 0]
    start, stop = (trials[name].to_numpy()[rows["trial"]] for name in ("start_time", "stop_time"))
    whole = (rows["bin"] * BIN_S >= start - 1e-9) & ((rows["bin"] + 1) * BIN_S <= stop + 1e-9)
    return rows[whole]


def _derived(behaviour: pd.DataFrame) -> pd.DataFrame:
    by_trial = behaviour.groupby("trial")
    elapsed = by_trial["time"].shift(-1) - by_trial["time"].shift(1)
    for axis in "xy":
        behaviour[f"v{axis}"] = (by_trial[f"Hand_{axis}"].shift(-1) - by_trial[f"Hand_{axis}"].shift(1)) / elapsed
    by_trial = behaviour.groupby("trial")
    for axis in "xy":
        behaviour[f"a{axis}"] = (by_trial[f"v{axis}"].shift(-1) - by_trial[f"v{axis}"].shift(1)) / elapsed
    behaviour["speed"] = np.hypot(behaviour["vx"], behaviour["vy"])
    behaviour["acceleration"] = np.hypot(behaviour["ax"], behaviour["ay"])
    return behaviour


def arrays_mb(data: Binned) -> float:
    """Size of everything that is returned (MB)."""
    total = 0
    for session in data.sessions:
        total += session.activity.nbytes + session.start_ns.nbytes + session.trial.nbytes + session.split.nbytes
        total += 0 if session.observed is None else session.observed.nbytes
        total += sum(covariate.values.nbytes for covariate in session.covariates.values())
    return total / 1e6


def measured(work: Any) -> tuple[float, float, Any]:
    """CPU and wall seconds of a call, and what it gives."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = work()
    return time.process_time() - cpu, time.perf_counter() - wall, result


def grown_mb(path: Path) -> tuple[float, float]:
    """Memory that a fresh process takes for our way beyond what it held after importing (MB), and the arrays' size."""
    command = [sys.executable, __file__, "--memory", str(path)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(said[0]), float(said[1])


def resident_mb(*, peak: bool = False) -> float:
    """Memory this process holds, or the most it has held (MB); of its own, whatever its parent held."""
    field = "VmHWM:" if peak else "VmRSS:"
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def memory(path: Path) -> None:
    """Print what `grown_mb` reads; a small file first, so that code is loaded before memory is counted."""
    small = make("dataset", "maze-reach", {**SETTINGS, "n_trials": 60, "n_units": 4, "n_mazes": 2})
    ours(small.files()[0])
    before = resident_mb()
    data = ours(path)
    print(resident_mb(peak=True) - before, arrays_mb(data))


def main() -> None:
    if sys.argv[1:2] == ["--memory"]:
        memory(Path(sys.argv[2]))
        return
    announce("open, clean, bin and align a simulated session in the layout of DANDI 000070")
    (path,) = make("dataset", "maze-reach", SETTINGS).files()
    with h5py.File(path) as file:
        n_spikes, n_samples = len(file["units/spike_times"]), len(file["processing/behavior/Position/Hand/timestamps"])
        print(
            f"{n_spikes:,} spikes of {len(file['units/id'])} units, {len(file['intervals/trials/id']):,} trials, ",
            end="",
        )
        print(f"{n_samples:,} samples of hand, cursor and eye; {path.stat().st_size / 1e6:.0f} MB")
    ours(path)
    runs = [measured(lambda: ours(path)) for _ in range(3)]
    cpu, wall, data = sorted(runs, key=lambda run: run[0])[1]
    pandas_cpu, pandas_wall, (counts, means) = measured(lambda: pivots(path))
    session = data.sessions[0]
    same = len(counts) == session.n_bins and int((counts.to_numpy() != session.activity).sum())
    speed = np.nanmax(np.abs(means["speed"].to_numpy() - session.covariates["hand_speed"].values[:, 0]))
    grown, arrays = grown_mb(path)
    print(f"ours           {cpu:7.2f} CPU s  {wall:7.2f} s   {session.n_bins:,} bins x {session.n_units} units")
    print(
        f"pandas pivots  {pandas_cpu:7.2f} CPU s  {pandas_wall:7.2f} s   {len(counts):,} bins x {counts.shape[1]} units"
    )
    print(f"counts that differ {same} of {session.activity.size:,}; largest difference of the speeds {speed:.3g} mm/s")
    print(f"ratio          {pandas_cpu / cpu:7.1f}   promised >= 30; absolute goal <= 2 s")
    print(f"memory         {grown:7.0f} MB beyond the program for {arrays:.0f} MB of arrays   promised <= 2 x")
    conclude(
        {
            "at least 30 times faster than pandas pivots": pandas_cpu >= 30 * cpu,
            "memory at most twice the arrays returned": grown <= 2 * arrays,
        }
    )


if __name__ == "__main__":
    main()
