"""A reaching session of full size, written directly: 130,000 bins, 192 units, 1,024 latents and 2,000 trials."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
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
from nldisco_core.grid import Grid
from nldisco_core.interfaces import Dictionary
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.mapping import MapperResult, mapping_table
from nldisco_core.runs import Run
from nldisco_core.session import IntervalTable
from nldisco_core.trials import assign_trials

N_BINS, N_UNITS, N_LATENTS, N_TRIALS, N_MAZES, BIN_S = 130_000, 192, 1024, 2000, 108, 0.05
TRIAL_S = N_BINS * BIN_S / N_TRIALS
VARIABLES = ("maze_condition", "hand_direction", "hand_position", "hand_speed")
DENSE, RARE, DEAD = N_LATENTS - 3, N_LATENTS - 2, N_LATENTS - 1
"""Latents that are active in most bins, in twelve bins, and never."""


def planted_variable(latent: int) -> str:
    """The variable a latent of the run's own model is tuned to."""
    return VARIABLES[latent % len(VARIABLES)]


def planted_direction(instance: int, latent: int) -> float:
    """The direction (rad) that a latent tuned to `hand_direction` is active at."""
    return float(2 * np.pi * ((latent * 29 + 11 * instance) % N_LATENTS) / N_LATENTS)


def write_full_size_run(folder: Path) -> Run:
    """The run: two instances of the model, one of an untrained control, mapped by selectivity."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    data = _recording(rng)
    write_binned(folder / "binned", data, Preprocessing())
    behaviour = _Behaviour.of(data)
    records = {}
    for name, n_instances, spread in (("model", 2, 1.0), ("random-encoder", 1, 3.0)):
        part = folder if name == "model" else folder / "controls" / name
        part.mkdir(parents=True, exist_ok=True)
        space = _space(rng, behaviour, n_instances, spread)
        write_latents(part / "latents", Latents.of(space))
        write_table(part / "history.parquet", _history(rng, n_instances))
        values = rng.normal(0, 0.1, (n_instances, N_LATENTS, N_UNITS)).astype(np.float32)
        for offset in range(4):
            values[:, np.arange(N_LATENTS), (np.arange(N_LATENTS) * 7 + 31 * offset) % N_UNITS] += 0.9 - 0.2 * offset
        write_dictionary(part, Dictionary(values=values, unit_ids=(tuple(data.units["id"]),)))
        (part / "mappings" / "selectivity").mkdir(parents=True)
        write_mapping(part / "mappings" / "selectivity", _mapping(rng, data, space, planted=name == "model"))
        provider = "matryoshka-sae" if name == "model" else name
        records[name] = {"provider": provider, "distribution": "nldisco-core", "version": "0.1.0", "config": {}}
    write_table(folder / "metrics.parquet", _metrics())
    (folder / "tables").mkdir()
    write_table(folder / "tables" / "copies.parquet", _copies(rng))
    write_table(folder / "tables" / "stability.parquet", _stability(rng))
    write_json(
        folder / "run.json",
        {
            "schema_version": SCHEMA_VERSION,
            "status": "finished",
            "name": folder.name,
            "created": "2026-03-01T10:22:05+00:00",
            "config": {},
            "dataset": {"provider": "written"},
            "card": {"title": "A written reaching session", "species": "simulated", "area": "M1 and PMd"},
            "model": records["model"],
            "controls": {"random-encoder": records["random-encoder"]},
            "verdict": ["This run was written by a program; its latents are tuned to what was planted."],
        },
    )
    return Run(folder)


@dataclass(frozen=True, kw_only=True)
class _Behaviour:
    """Bins in the order of each variable: where a latent tuned to a stretch of it finds its bins."""

    order: dict[str, NDArray[np.int64]]
    values: dict[str, NDArray[np.float64]]
    trial: NDArray[np.int32]
    maze: NDArray[np.int64]

    @classmethod
    def of(cls, data: Binned) -> _Behaviour:
        position = data.covariate("hand_position").values
        values = {
            "hand_direction": data.covariate("hand_direction").values[:, 0],
            "hand_position": position[:, 0],
            "hand_speed": data.covariate("hand_speed").values[:, 0],
        }
        trials = data.sessions[0].trials
        assert trials is not None
        order = {name: np.argsort(of, kind="stable") for name, of in values.items()}
        return cls(order=order, values=values, trial=data.trial, maze=trials.frame["maze_condition"].to_numpy())


def _recording(rng: np.random.Generator) -> Binned:
    grid = Grid(bin_ns=round(BIN_S * 1e9), stretch_start_ns=np.array([0]), stretch_n_bins=np.array([N_BINS]))
    start_ns, trials = grid.start_ns, _trials(rng)
    trial, _ = assign_trials(trials, grid)
    time_s = start_ns * 1e-9
    moving = np.interp(time_s % TRIAL_S, [0, 1.5, 1.75, 2.0, TRIAL_S], [0, 0, 1, 0, 0])
    maze = np.where(trial >= 0, trials.frame["maze_condition"].to_numpy()[np.maximum(trial, 0)], 0)
    goal = 2 * np.pi * maze / N_MAZES + rng.normal(0, 0.2, N_TRIALS)[np.maximum(trial, 0)]
    reach = np.clip((time_s % TRIAL_S - 1.5) / 0.5, 0, 1) - np.clip((time_s % TRIAL_S - 2.4) / 0.6, 0, 1)
    place = 110 * reach[:, None] * np.stack([np.cos(goal), 0.7 * np.sin(goal)], axis=1)
    place += rng.normal(0, 3, place.shape)
    speed = 380 * moving + np.abs(rng.normal(0, 14, N_BINS))
    direction = np.where(moving > 0.1, (goal + rng.normal(0, 0.15, N_BINS)) % (2 * np.pi), np.nan)
    condition = np.where(trial >= 0, maze, np.nan).astype(float)
    labels = tuple(f"{number + 1}" for number in range(N_MAZES))
    covariates = (
        Covariate(name="maze_condition", values=condition, kind="discrete", source="trial", categories=labels),
        Covariate(name="hand_position", values=place, kind="position", physical_unit="mm", channels=("x", "y")),
        Covariate(name="hand_speed", values=speed, kind="linear", physical_unit="mm/s"),
        Covariate(name="hand_direction", values=direction, kind="circular", period=2 * np.pi, physical_unit="rad"),
    )
    preferred = 2 * np.pi * np.arange(N_UNITS) / N_UNITS
    tuned = np.cos(np.nan_to_num(direction)[:, None].astype(np.float32) - preferred.astype(np.float32))
    rate = 0.4 + 0.5 * moving[:, None].astype(np.float32) * (1 + tuned)
    session = BinnedSession(
        session_id="written-maze",
        activity=(rng.random(rate.shape, dtype=np.float32) * 2.2 < rate).astype(np.uint8)
        + (rng.random(rate.shape, dtype=np.float32) * 6 < rate).astype(np.uint8),
        units=pd.DataFrame(
            {
                "id": [f"unit-{i:03d}" for i in range(N_UNITS)],
                "region": ["M1"] * 98 + ["PMd"] * (N_UNITS - 98),
                "kind": "",
            }
        ),
        start_ns=start_ns,
        trial=trial,
        split=np.array([0, 0, 0, 1, 2], dtype=np.int8)[np.maximum(trial, 0) % 5],
        trials=trials,
        covariates={covariate.name: covariate for covariate in covariates},
    )
    return Binned(sessions=(session,), bin_s=BIN_S, activity_kind="counts")


def _trials(rng: np.random.Generator) -> IntervalTable:
    start_s = np.arange(N_TRIALS) * TRIAL_S
    frame = pd.DataFrame(
        {
            "start_s": start_s,
            "stop_s": start_s + TRIAL_S - 0.2,
            "target_on_s": start_s + 0.3,
            "go_cue_s": start_s + rng.uniform(1.0, 1.3, N_TRIALS),
            "move_begins_s": start_s + 1.5,
            "maze_condition": rng.permutation(np.arange(N_TRIALS) % N_MAZES),
            "num_barriers": rng.integers(0, 10, N_TRIALS),
        }
    )
    return IntervalTable(frame, events=("target_on_s", "go_cue_s", "move_begins_s"))


def _space(rng: np.random.Generator, behaviour: _Behaviour, n_instances: int, spread: float) -> LatentSpace:
    codes = tuple(_codes(rng, behaviour, instance, spread) for instance in range(n_instances))
    return LatentSpace(
        codes=codes,
        session_ids=("written-maze",),
        row_offsets=np.array([0, N_BINS]),
        level_sizes=(64, 256, N_LATENTS),
    )


def _codes(rng: np.random.Generator, behaviour: _Behaviour, instance: int, spread: float) -> sparse.csc_array:
    columns = [_active_rows(rng, behaviour, instance, latent, spread) for latent in range(N_LATENTS)]
    indptr = np.concatenate([[0], np.cumsum([len(rows) for rows in columns])])
    indices = np.concatenate(columns).astype(np.int32)
    values = rng.gamma(3, 0.4, len(indices)).astype(np.float32) + 0.05
    return sparse.csc_array((values, indices, indptr.astype(np.int32)), shape=(N_BINS, N_LATENTS))


def _active_rows(
    rng: np.random.Generator, behaviour: _Behaviour, instance: int, latent: int, spread: float
) -> NDArray[np.int64]:
    """Bins in which a latent is active, ascending: a share of those of its stretch of the planted variable."""
    if latent in (DEAD, RARE):
        return np.sort(rng.choice(N_BINS, 0 if latent == DEAD else 12, replace=False))
    if latent == DENSE:
        return np.flatnonzero(rng.random(N_BINS) < 0.7)
    variable = planted_variable(latent)
    if variable == "maze_condition":
        mazes = (latent * 5 + 13 * instance + np.arange(round(6 * spread))) % N_MAZES
        candidates = np.flatnonzero((behaviour.trial >= 0) & np.isin(behaviour.maze, mazes)[behaviour.trial])
    else:
        candidates = _stretch(behaviour, variable, instance, latent, spread)
    share = 0.08 + 0.5 * ((latent * 37) % 101) / 101
    return np.sort(candidates[rng.random(len(candidates)) < share])


def _stretch(behaviour: _Behaviour, variable: str, instance: int, latent: int, spread: float) -> NDArray[np.int64]:
    order, values = behaviour.order[variable], behaviour.values[variable]
    if variable == "hand_direction":
        away = np.angle(np.exp(1j * (values[order] - planted_direction(instance, latent))))
        return order[np.abs(away) < 0.35 * spread]
    first = ((latent * 53 + 11 * instance) % N_LATENTS) / N_LATENTS * (N_BINS - 6000)
    return order[int(first) : int(first + 6000 * spread)]


def _mapping(rng: np.random.Generator, data: Binned, space: LatentSpace, *, planted: bool) -> MapperResult:
    """A table of the size and the columns that the selectivity mapper writes; its scores follow what was planted."""
    conditions: dict[str, list[str | None]] = {
        "maze_condition": list(data.covariate("maze_condition").categories or ()),
        "hand_direction": [f"{30 * part} to {30 * part + 30}°" for part in range(12)],
        "hand_position": [f"cell {cell}" for cell in range(25)],
        "hand_speed": [f"tenth {tenth}" for tenth in range(10)],
    }
    n_active = np.stack([np.diff(code.indptr) for code in space.codes])
    parts = []
    for variable, labels in conditions.items():
        tuned = np.array([planted and planted_variable(latent) == variable for latent in range(N_LATENTS)])
        for split in ("train", "test"):
            shape = (space.n_instances, N_LATENTS, len(labels) + 1)
            instance, latent, number = (axis.ravel() for axis in np.indices(shape))
            whole = number == len(labels)
            strength = 0.15 + 0.6 * tuned[latent]
            score = rng.random((6, len(number)), dtype=np.float32) * strength
            parts.append(
                pd.DataFrame(
                    {
                        "instance": instance,
                        "latent": latent,
                        "variable": pd.array([variable], dtype="string").repeat(len(number)),
                        "condition": pd.array([*labels, None], dtype="string").take(number),
                        "split": pd.array([split], dtype="string").repeat(len(number)),
                        "coverage": score[0],
                        "specificity": 1 - score[1] / 4,
                        "precision": score[2],
                        "selectivity": score[3],
                        "auroc": 0.5 + score[4] / 2,
                        "youden": score[0] - score[1] / 4,
                        "mcc": score[5],
                        "n_active": n_active[instance, latent] // (1 if split == "train" else 3),
                        "n_visits": n_active[instance, latent] // 9,
                        "supported": n_active[instance, latent] > 300,
                        "mutual_information": np.where(whole, score[0], np.nan),
                        "preferred": pd.array(labels, dtype="string").take((latent * 5) % len(labels)),
                        "max_mcc": np.where(whole, score[5], np.nan),
                        "p": np.where(whole & (split == "test"), np.where(tuned[latent], 0.002, score[0]), np.nan),
                        "q": np.where(
                            whole & (split == "test"), np.where(tuned[latent], 0.006, 0.2 + score[0]), np.nan
                        ),
                        "statistic": pd.array(["max mcc"], dtype="string").repeat(len(number)),
                        "null": pd.array(["trial relabelling"], dtype="string").repeat(len(number)),
                    }
                )
            )
    table = pd.concat(parts, ignore_index=True)
    return MapperResult(table=mapping_table(table.to_dict("series")))


def _metrics() -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for model, r2, n_instances in (("model", 0.62, 2), ("random-encoder", 0.31, 1)):
        for instance in range(n_instances):
            for split in ("train", "test"):
                keys = {"model": model, "instance": instance, "level": 2, "lag_s": 0.0, "split": split}
                rows.append(keys | {"r2": r2, "fvu": 1 - r2, "cosine": r2**0.5, "l0_mean": 12.0, "dead_share": 0.001})
    return pd.DataFrame(rows)


def _copies(rng: np.random.Generator) -> pd.DataFrame:
    instance, latent = (axis.ravel() for axis in np.indices((2, N_LATENTS)))
    correlation = rng.random(len(latent))
    return pd.DataFrame(
        {
            "model": "model",
            "instance": instance,
            "latent": latent,
            "unit": [f"unit-{number:03d}" for number in latent * 7 % N_UNITS],
            "correlation": correlation,
            "copy": correlation > 0.9,
            "n_effective_units": 1 + 9 * rng.random(len(latent)),
        }
    )


def _stability(rng: np.random.Generator) -> pd.DataFrame:
    instance, latent = (axis.ravel() for axis in np.indices((2, N_LATENTS)))
    return pd.DataFrame(
        {
            "model": "model",
            "instance": instance,
            "latent": latent,
            "decoder_similarity": rng.random(len(latent)),
            "activation_similarity": rng.random(len(latent)),
        }
    )


def _history(rng: np.random.Generator, n_instances: int) -> pd.DataFrame:
    steps = np.arange(0, 4000, 20)
    frames = [
        pd.DataFrame(
            {"step": steps, "instance": i, "name": "loss", "value": np.exp(-steps / 700) + rng.random(200) / 30}
        )
        for i in range(n_instances)
    ]
    return pd.concat(frames, ignore_index=True)
