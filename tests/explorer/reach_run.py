"""A run of reaches to eight targets, written directly: trials with events, two sessions, gaps, known latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from nldisco_core.binned import Binned, BinnedSession, Covariate, Preprocessing
from nldisco_core.files import (
    SCHEMA_VERSION,
    write_binned,
    write_dictionary,
    write_json,
    write_latents,
    write_mapping,
    write_table,
)
from nldisco_core.interfaces import Dictionary
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.mapping import MapperResult, mapping_table
from nldisco_core.runs import Run
from nldisco_core.session import IntervalTable

BIN_S = 0.02
TRIAL_BINS = 65
ONSET_BIN = 30  # every trial moves this many bins after its start, give or take a few
GAP_S = 25.0
PARENT, CHILD = 0, 16  # the child is active in some of its parent's bins and in no others
TARGETS = ("E", "NE", "N", "NW", "W", "SW", "S", "SE")


def target_of(latent: int) -> int:
    """The target that latent i of the run's model prefers."""
    return latent % len(TARGETS)


def lag_of(latent: int) -> int:
    """Bins from movement onset at which latent i of the run's model is active."""
    return (latent * 5) % 25 - 10


def write_reach_run(
    folder: Path, *, n_trials: tuple[int, ...] = (120, 60), n_units: int = 24, n_latents: int = 32, seed: int = 0
) -> Run:
    """A run of so many trials in each of its sessions; the same recording for the same sizes, whatever the seed."""
    folder.mkdir(parents=True)
    data = _recording(np.random.default_rng(7), n_trials, n_units)
    rng = np.random.default_rng(seed)
    write_binned(folder / "binned", data, Preprocessing())
    spaces = {"model": _sparse_space(rng, data, n_latents), "pca": _dense_space(rng, data)}
    provider = {"model": "matryoshka-sae", "pca": "pca"}
    values = rng.normal(0, 0.1, (1, n_latents, n_units)).astype(np.float32)
    for latent in range(n_latents):
        values[0, latent, np.arange(n_units) % len(TARGETS) == target_of(latent)] += 1
    for name, space in spaces.items():
        part = folder if name == "model" else folder / "controls" / name
        part.mkdir(parents=True, exist_ok=True)
        write_latents(part / "latents", Latents.of(space))
        write_table(part / "history.parquet", pd.DataFrame({"step": [], "instance": [], "name": [], "value": []}))
        (part / "mappings" / "selectivity").mkdir(parents=True)
        write_mapping(part / "mappings" / "selectivity", _mapping(rng, space))
    write_dictionary(folder, Dictionary(values=values, unit_ids=(tuple(data.units["id"]),)))
    write_table(folder / "metrics.parquet", pd.DataFrame({"model": [], "split": []}))
    record = {"distribution": "nldisco-core", "version": "0.1.0", "config": {}}
    write_json(
        folder / "run.json",
        {
            "schema_version": SCHEMA_VERSION,
            "status": "finished",
            "name": folder.name,
            "created": "2026-03-01T10:22:05+00:00",
            "config": {"bin": {"bin_s": BIN_S}},
            "dataset": {"provider": "written"},
            "card": {"title": "Written reaches", "species": "simulated", "area": "M1", "licence": "BSD-3-Clause"},
            "model": record | {"provider": provider["model"]},
            "controls": {"pca": record | {"provider": provider["pca"]}},
            "verdict": [],
        },
    )
    return Run(folder)


def _recording(rng: np.random.Generator, n_trials: tuple[int, ...], n_units: int) -> Binned:
    sessions = tuple(_session(rng, index, n, n_units) for index, n in enumerate(n_trials))
    return Binned(sessions=sessions, bin_s=BIN_S, activity_kind="counts")


def _session(rng: np.random.Generator, index: int, n_trials: int, n_units: int) -> BinnedSession:
    """Trials end to end, with one gap of 25 s in the middle."""
    n_bins = n_trials * TRIAL_BINS
    trial = np.repeat(np.arange(n_trials, dtype=np.int32), TRIAL_BINS)
    start_s = np.arange(n_bins) * BIN_S + GAP_S * (trial >= n_trials // 2)
    first_s = start_s[::TRIAL_BINS]
    onset = ONSET_BIN + rng.integers(-3, 4, n_trials)
    target = rng.integers(0, len(TARGETS), n_trials)
    since = np.arange(n_bins) % TRIAL_BINS - onset[trial]
    angle = 2 * np.pi * target[trial] / len(TARGETS)
    speed = np.exp(-(((since - 8) / 5.0) ** 2)) * 12
    velocity = speed[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    place = np.cumsum(velocity, axis=0) * BIN_S
    place -= np.repeat(place[::TRIAL_BINS], TRIAL_BINS, axis=0)
    preferred = np.arange(n_units) % len(TARGETS)
    rate = 0.1 + 0.08 * speed[:, None] * np.exp(2 * (np.cos(angle[:, None] - 2 * np.pi * preferred / 8) - 1))
    frame = pd.DataFrame(
        {
            "start_s": first_s,
            "stop_s": first_s + TRIAL_BINS * BIN_S,
            "target": [TARGETS[i] for i in target],
            "reaction_s": (onset - 10) * BIN_S,
            "go_cue_time": first_s + 10 * BIN_S,
            "move_onset_time": first_s + onset * BIN_S,
        }
    )
    covariates = (
        Covariate(name="hand", values=place, kind="position", physical_unit="cm", channels=("x", "y")),
        Covariate(name="speed", values=speed, kind="linear", physical_unit="cm/s"),
        Covariate(name="direction", values=angle, kind="circular", period=2 * np.pi, physical_unit="rad"),
        Covariate(
            name="velocity",
            values=velocity,
            kind="linear",
            physical_unit="cm/s",
            channels=("x", "y"),
        ),
        Covariate(
            name="target", values=target[trial].astype(float), kind="discrete", source="trial", categories=TARGETS
        ),
    )
    units = pd.DataFrame({"id": [f"u{i}" for i in range(n_units)], "kind": ""})
    units["region"] = np.where(np.arange(n_units) < n_units // 2, "PMd", "M1")
    return BinnedSession(
        session_id=f"reach-{index + 1}",
        activity=rng.poisson(rate).astype(np.uint8),
        units=units,
        start_ns=np.rint(start_s * 1e9).astype(np.int64),
        trial=trial,
        trials=IntervalTable(frame, events=("go_cue_time", "move_onset_time")),
        split=np.array([0, 0, 1, 2], dtype=np.int8)[trial // 5 % 4],
        covariates={each.name: each for each in covariates},
    )


def _sparse_space(rng: np.random.Generator, data: Binned, n_latents: int) -> LatentSpace:
    """Latent i is active at its lag from movement onset in reaches to its target; the last is dead."""
    onsets, targets = [], []
    for session, offset in zip(data.sessions, data.row_offsets, strict=False):
        assert session.trials is not None
        delay = session.trials.frame["move_onset_time"] - session.trials.frame["start_s"]
        onsets.append(offset + np.arange(len(delay)) * TRIAL_BINS + np.rint(delay / BIN_S).astype(int))
        targets.append(session.covariates["target"].values[::TRIAL_BINS, 0].astype(int))
    onset, target = np.concatenate(onsets), np.concatenate(targets)
    rows: list[Any] = []
    values: list[Any] = []
    for latent in range(n_latents):
        mine = onset[target == target_of(latent)] + lag_of(latent)
        bins = np.unique(mine[:, None] + np.arange(-2, 3)) if latent < n_latents - 1 else np.empty(0, dtype=int)
        bins = (
            bins[rng.random(len(bins)) < 0.9] if latent != CHILD else rows[PARENT][rng.random(len(rows[PARENT])) < 0.7]
        )
        rows.append(bins)
        values.append(rng.gamma(6, 0.2, len(bins)).astype(np.float32) + np.float32(0.01))
    indptr = np.concatenate([[0], np.cumsum([len(each) for each in rows])])
    code = sparse.csc_array((np.concatenate(values), np.concatenate(rows), indptr), shape=(data.n_bins, n_latents))
    return LatentSpace(
        codes=(code,),
        session_ids=tuple(session.session_id for session in data.sessions),
        row_offsets=data.row_offsets,
        level_sizes=(n_latents // 4, n_latents),
    )


def _dense_space(rng: np.random.Generator, data: Binned) -> LatentSpace:
    """Four signed latents: the velocity of the hand along two axes, and two that wander."""
    angle, speed = data.covariate("direction").values[:, 0], data.covariate("speed").values[:, 0]
    wandering = np.cumsum(rng.standard_normal((data.n_bins, 2)), axis=0) * 0.05
    codes = np.column_stack([speed * np.cos(angle), speed * np.sin(angle), np.sin(wandering)])
    codes += rng.normal(0, 0.1, codes.shape)
    return LatentSpace(
        codes=codes[None].astype(np.float32),
        session_ids=tuple(session.session_id for session in data.sessions),
        row_offsets=data.row_offsets,
        code_kind="signed",
    )


def _mapping(rng: np.random.Generator, space: LatentSpace) -> MapperResult:
    rows: list[dict[str, Any]] = []
    signs = (1, -1) if space.code_kind == "signed" else (0,)
    for latent in range(space.n_latents):
        for sign in signs:
            for variable in ("target", "speed"):
                score = rng.random(2).round(4)
                rows.append(
                    {
                        "instance": 0,
                        "latent": latent,
                        "sign": sign,
                        "variable": variable,
                        "condition": None,
                        "split": "test",
                        "q": float(rng.choice([0.004, 0.2])),
                        "mutual_information": score[0],
                        "youden": score[1],
                        "preferred": TARGETS[target_of(latent)] if variable == "target" else "fast",
                        "n_active": 200,
                        "n_visits": 40,
                        "supported": latent < space.n_latents - 1,
                    }
                )
    frame = pd.DataFrame(rows)
    return MapperResult(table=mapping_table({name: frame[name] for name in frame.columns}))
