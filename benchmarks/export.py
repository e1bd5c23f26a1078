"""Transform, evaluation tables and Parquet export of a whole recording, against dense torch and numpy on one model.

With ``--large`` the same on memory-mapped counts of 10 million bins x 192 units, which are never held.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from nldisco_sae.config import MatryoshkaConfig
from nldisco_sae.matryoshka import MatryoshkaSAE
from numpy.lib.format import open_memmap
from reporting import announce, conclude
from scipy.special import xlogy

from nldisco_core.binned import SPLITS, Binned, BinnedSession
from nldisco_core.files import read_latents, write_latents
from nldisco_core.metrics import RATE_FLOOR, Evaluation, evaluate
from nldisco_core.monitoring import FitMonitor
from nldisco_core.preprocessing import preprocess

THREADS = 2
N_BINS, N_UNITS = 130_507, 160
N_BINS_LARGE, N_UNITS_LARGE = 10_000_000, 192
N_TRAINING = 20_480  # bins that the model is fitted on
LEVELS = {256: 8.0, 512: 16.0, 1024: 24.0}
WANTED_RATIO, WANTED_MB, WANTED_LARGE_MB, GOAL_S = 3.0, 500, 1_000, 5.0
REPEATS = 3
SCORES = ("r2", "cosine", "population_r2", "deviance_explained", "bits_per_spike", "l0_mean", "l0_sd", "dead_share")


def draw_counts(n_bins: int, n_units: int) -> np.ndarray:
    """(n_bins, n_units) uint8 Poisson counts that 40 sparse latents drive, about 0.16 spikes a bin."""
    rng = np.random.default_rng(0)
    latents = rng.gamma(0.3, 1.0, (n_bins, 40)).astype(np.float32)
    weights = rng.gamma(0.3, 1.0, (40, n_units)).astype(np.float32)
    return rng.poisson(0.03 * latents @ weights + 0.05).astype(np.uint8)


def binned(activity: np.ndarray) -> Binned:
    """One session of 50 ms bins in blocks of 200: seven of ten for training, one for validation, two for testing."""
    n_bins, n_units = activity.shape
    split = np.array([0, 0, 0, 0, 0, 0, 0, 1, 2, 2], dtype=np.int8)[np.arange(n_bins) // 200 % 10]
    session = BinnedSession(
        session_id="s",
        activity=activity,
        units=pd.DataFrame({"id": [f"u{unit}" for unit in range(n_units)], "region": "", "kind": ""}),
        start_ns=np.arange(n_bins, dtype=np.int64) * 50_000_000,
        trial=np.full(n_bins, -1, dtype=np.int32),
        split=split,
    )
    return Binned(sessions=(session,), bin_s=0.05, activity_kind="counts")


def fitted(activity: np.ndarray, selection: str, folder: Path) -> None:
    """Fit a model on the first bins and save it."""
    config = MatryoshkaConfig(levels=LEVELS, selection=selection, epochs=10, lr=2e-3, seeds=(0,), engine="fast")
    model = MatryoshkaSAE(config)
    monitor = FitMonitor("fit", checkpoints=folder.with_name("checkpoints"), quiet=True)
    model.fit(binned(activity[:N_TRAINING]), validation=None, monitor=monitor)
    monitor.close()
    folder.mkdir()
    model.save(folder)


def ours(model: MatryoshkaSAE, data: Binned, folder: Path) -> Evaluation:
    """Transform, tables and export."""
    latents = model.transform(data)
    found = evaluate(model, latents, data, counts=data)
    write_latents(folder, latents)
    return found


def dense(model: MatryoshkaSAE, data: Binned, folder: Path) -> Evaluation:
    """The same from dense arrays of the whole recording, one level and split after the other."""
    fit = model._require_fitted()
    weights = {name: tensor[0] for name, tensor in fit.parameters.trained().items()}
    x = torch.from_numpy(data.activity.astype(np.float32))
    activations = torch.relu(torch.addmm(fit.parameters.offset()[0, 0], x, weights["encoder"]))
    nested = model.config.selection == "nested"
    mask = torch.zeros(activations.shape, dtype=torch.uint8)
    rows: list[dict[str, Any]] = []
    units: list[pd.DataFrame] = []
    null = np.maximum(data.activity[data.split == 0].astype(np.float64).mean(axis=0), RATE_FLOOR)
    for level, size in enumerate(LEVELS):
        chosen = activations[:, :size] >= fit.thresholds[0, -1 if nested else level]
        mask[:, :size] |= chosen.to(torch.uint8) << level
        codes = activations[:, :size] * chosen
        predicted = (codes @ weights["decoder"][:size] + weights["decoder_bias"]).numpy().astype(np.float64)
        for code, split in enumerate(SPLITS):
            inside = data.split == code
            summary, table = dense_scores(data.activity[inside].astype(np.float64), predicted[inside], null)
            active = chosen.numpy()[inside]
            per_bin = active.sum(axis=1)
            sparsity = {"l0_mean": per_bin.mean(), "l0_sd": per_bin.std(), "dead_share": 1 - active.any(axis=0).mean()}
            rows.append({"level": level, "split": split} | summary | sparsity)
            units.append(table.assign(level=level, split=split))
    row, latent = np.nonzero(mask.numpy())
    frame = pd.DataFrame({"session": 0, "bin": row, "instance": 0, "latent": latent})
    frame = frame.assign(activation=activations.numpy()[row, latent], level_mask=mask.numpy()[row, latent])
    folder.mkdir()
    frame.sort_values(["instance", "latent", "session", "bin"]).to_parquet(folder / "latents.parquet", index=False)
    return Evaluation(summary=pd.DataFrame(rows), units=pd.concat(units))


def dense_scores(y: np.ndarray, predicted: np.ndarray, null: np.ndarray) -> tuple[dict[str, float], pd.DataFrame]:
    """Scores of the population and of each unit."""
    sse, sst = np.square(y - predicted).sum(axis=0), np.square(y - y.mean(axis=0)).sum(axis=0)
    expected = np.maximum(predicted, RATE_FLOOR)
    deviance = 2 * (xlogy(y, y) - y * np.log(expected) - y + expected).sum(axis=0)
    null_deviance = 2 * (xlogy(y, y) - y * np.log(null) - y + null).sum(axis=0)
    norms = np.linalg.norm(y, axis=1) * np.linalg.norm(predicted, axis=1)
    whole, whole_predicted = y.sum(axis=1), predicted.sum(axis=1)
    summary = {
        "r2": 1 - sse.sum() / sst.sum(),
        "cosine": ((y * predicted).sum(axis=1)[norms > 0] / norms[norms > 0]).mean(),
        "population_r2": 1 - np.square(whole - whole_predicted).sum() / np.square(whole - whole.mean()).sum(),
        "deviance_explained": 1 - deviance.sum() / null_deviance.sum(),
        "bits_per_spike": (null_deviance - deviance).sum() / 2 / (y.sum() * np.log(2)),
    }
    cosine = (y * predicted).sum(axis=0) / (np.linalg.norm(y, axis=0) * np.linalg.norm(predicted, axis=0))
    return summary, pd.DataFrame(
        {"r2": 1 - sse / sst, "cosine": cosine, "deviance_explained": 1 - deviance / null_deviance}
    )


@contextmanager
def watched_memory(peaks: dict[str, float]) -> Iterator[None]:
    """Largest memory above what was held before (MB): all of it, and without pages of files, looked at every 10 ms."""
    before, done = _memory_mb(), threading.Event()
    peaks |= dict.fromkeys(before, 0.0)

    def look() -> None:
        while not done.wait(0.01):
            for name, held in _memory_mb().items():
                peaks[name] = max(peaks[name], held - before[name])

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _memory_mb() -> dict[str, float]:
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(fields[key].split()[0]) / 1024 for name, key in (("all", "VmRSS"), ("own", "RssAnon"))}


def measured(work: Callable[[MatryoshkaSAE, Binned, Path], Evaluation], folder: Path, repeats: int) -> dict[str, Any]:
    """Seconds and memory of the work on the model and counts in a folder, after a few bins that are not counted."""
    model = MatryoshkaSAE.load(folder / "model")
    activity = np.load(folder / "activity.npy", mmap_mode="r")
    data = binned(activity)
    with tempfile.TemporaryDirectory(dir=folder) as out:
        work(model, binned(np.array(activity[:4000])), Path(out) / "first")
        spent, peaks = [], {}
        for repeat in range(repeats):
            for threads in (1, THREADS)[:repeats]:
                torch.set_num_threads(threads)
                cpu, wall = time.process_time(), time.perf_counter()
                with watched_memory(peaks if repeat == 0 else {}):
                    found = work(model, data, Path(out) / f"latents-{len(spent)}")
                spent.append((time.process_time() - cpu, time.perf_counter() - wall))
        n_bytes = sum(path.stat().st_size for path in (Path(out) / "latents-0").iterdir())
    found.summary.to_parquet(folder / f"{work.__name__}.parquet")
    found.units.to_parquet(folder / f"{work.__name__}-units.parquet")
    cpu_s = float(np.median([cpu for cpu, _ in spent[::2]]))  # on one thread: others wait for each other by spinning
    return {"cpu_s": cpu_s, "best_s": min(wall for _, wall in spent), "file_mb": n_bytes / 1e6, **peaks}


def large(model: MatryoshkaSAE, data: Binned, folder: Path) -> Evaluation:
    """As `ours`, said step by step; read back and smoothed too."""
    started = time.perf_counter()

    def say(step: str) -> None:
        own = _memory_mb()["own"]
        print(
            f"  {time.perf_counter() - started:7.1f} s, {own:5.0f} MB of its own: {step}", file=sys.stderr, flush=True
        )

    latents = model.transform(data)
    say(f"transform, {latents.main.codes[0].nnz:,} activations")
    found = evaluate(model, latents, data, counts=data)
    say("evaluation tables")
    write_latents(folder, latents)
    say("export")
    same = read_latents(folder).main.codes[0].nnz == latents.main.codes[0].nnz
    say(f"read back, {'as many' if same else 'OTHER'} activations")
    preprocess(data, smooth_s=0.05, normalise="z-score")
    say("smoothed and normalised")
    return found


def in_child(work: str, folder: Path) -> dict[str, Any]:
    """What `measured` finds in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--measure", work, str(folder)], check=True, stdout=subprocess.PIPE
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def compare(activity: np.ndarray, selection: str) -> dict[str, bool]:
    """One selection: ours against the dense way, and whether both say the same."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "activity.npy", activity)
        fitted(activity, selection, folder / "model")
        mine, theirs = in_child("ours", folder), in_child("dense", folder)
        tables = [pd.read_parquet(folder / f"{work}.parquet") for work in ("ours", "dense")]
        units = [pd.read_parquet(folder / f"{work}-units.parquet") for work in ("ours", "dense")]
    apart = max(np.abs(tables[0][score].to_numpy() - tables[1][score].to_numpy()).max() for score in SCORES)
    names = ["r2", "cosine", "deviance_explained"]
    apart = max(apart, float(np.abs(units[0][names].to_numpy() - units[1][names].to_numpy()).max()))
    ratio = theirs["cpu_s"] / mine["cpu_s"]
    deepest = tables[0].iloc[-1]
    print(f"{selection}: L0 {deepest['l0_mean']:.1f}, R² {deepest['r2']:.3f}; scores differ by at most {apart:.1e}")
    for word, found in (("nldisco", mine), ("dense", theirs)):
        print(
            f"  {word:8s} {found['cpu_s']:6.2f} CPU s on one thread, {found['all']:5.0f} MB above the data, "
            f"{found['file_mb']:.1f} MB on disk"
        )
    print(
        f"  {ratio:.1f} times fewer CPU seconds; goal {GOAL_S:g} s on {THREADS} free cores: best {mine['best_s']:.2f}"
    )
    return {
        f"{selection} at least {WANTED_RATIO:g} times fewer CPU seconds than dense": ratio >= WANTED_RATIO,
        f"{selection} at most {WANTED_MB} MB above the data": mine["all"] <= WANTED_MB,
        f"{selection} scores within 1e-4 of the dense ones": apart <= 1e-4,
    }


def run_large(n_bins: int) -> dict[str, bool]:
    """Counts that are never held: memory of the process itself, without pages of files, which the system can drop."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        some = draw_counts(100_000, N_UNITS_LARGE)
        rng = np.random.default_rng(1)
        whole = open_memmap(folder / "activity.npy", mode="w+", dtype=np.uint8, shape=(n_bins, N_UNITS_LARGE))
        for start in range(0, n_bins, len(some)):
            whole[start : start + len(some)] = rng.permutation(some)[: n_bins - start]
        print(f"{n_bins:,} bins x {N_UNITS_LARGE} units, {whole.nbytes / 1e9:.1f} GB on disk")
        del whole
        fitted(some, "per-level", folder / "model")
        found = in_child("large", folder)
    print(
        f"  {found['cpu_s']:.0f} CPU s, {found['best_s']:.0f} s; at most {found['own']:.0f} MB of its own "
        f"({found['all']:.0f} MB with pages of files); {found['file_mb'] / 1e3:.2f} GB of Parquet"
    )
    return {f"{n_bins:,} bins with at most {WANTED_LARGE_MB} MB of memory": found["own"] <= WANTED_LARGE_MB}


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--measure"]:
        work = {"ours": ours, "dense": dense, "large": large}[arguments[1]]
        found = measured(work, Path(arguments[2]), REPEATS if work is ours else 1)
        print(json.dumps(found))
        return
    announce(f"transform, evaluation and export, levels {LEVELS}", threads=THREADS)
    if arguments[:1] == ["--large"]:
        conclude(run_large(int(arguments[1]) if arguments[1:] else N_BINS_LARGE))
    activity = draw_counts(N_BINS, N_UNITS)
    kept: dict[str, bool] = {}
    for selection in arguments or ("per-level", "nested"):
        kept |= compare(activity, selection)
    conclude(kept)


if __name__ == "__main__":
    main(sys.argv[1:])
