"""A full run written directly, without training anything; read by the conftest files of the explorer's tests."""

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

N_BINS, N_UNITS, N_LATENTS, BIN_S = 12_000, 15, 48, 0.05


def write_run(folder: Path, *, mapped: bool = True) -> Run:
    """A run of latents tuned to a heading, each preferring another direction, with two instances and two controls."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    data = _recording(rng)
    write_binned(folder / "binned", data, Preprocessing())
    heading = np.nan_to_num(data.covariate("heading").values[:, 0])
    records = {}
    for name, provider in (("model", "matryoshka-sae"), ("pca", "pca"), ("random-encoder", "random-encoder")):
        part = folder if name == "model" else folder / "controls" / name
        part.mkdir(parents=True, exist_ok=True)
        space = _space(rng, heading, signed=name == "pca", width=0.45 if name == "model" else 0.9)
        write_latents(part / "latents", Latents.of(space))
        history = pd.DataFrame({"step": [], "instance": [], "name": [], "value": []})
        if name == "model":
            history = _history(rng)
            values = rng.normal(0, 0.25, (2, N_LATENTS, N_UNITS)).astype(np.float32)
            for latent in range(N_LATENTS):
                values[:, latent, latent % N_UNITS] += 0.9
            unit_ids = (tuple(data.units["id"]),)
            write_dictionary(part, Dictionary(values=values, unit_ids=unit_ids))
        write_table(part / "history.parquet", history)
        if mapped:
            (part / "mappings" / "selectivity").mkdir(parents=True)
            write_mapping(part / "mappings" / "selectivity", _mapping(rng, space))
        records[name] = {
            "provider": provider,
            "distribution": "nldisco-core",
            "version": "0.1.0",
            "config": {"lr": 0.005},
        }
    write_table(folder / "metrics.parquet", _metrics(rng))
    write_json(
        folder / "run.json",
        {
            "schema_version": SCHEMA_VERSION,
            "status": "finished",
            "name": folder.name,
            "created": "2026-03-01T10:22:05+00:00",
            "config": {"bin": {"epoch": "wake"}},
            "dataset": {"provider": "written"},
            "card": {"title": "A written recording", "species": "simulated", "area": "none", "licence": "BSD-3-Clause"},
            "model": records["model"],
            "controls": {name: record for name, record in records.items() if name != "model"},
            "verdict": [
                "The model reconstructs better than pca.",
                "An untrained encoder makes as many sharply tuned latents.",
            ],
        },
    )
    return Run(folder)


def _recording(rng: np.random.Generator) -> Binned:
    heading = np.cumsum(rng.standard_normal(N_BINS) * 0.12) % (2 * np.pi)
    place = np.stack([np.sin(np.arange(N_BINS) / 900), np.cos(np.arange(N_BINS) / 1370)], axis=1) * 30
    place += rng.normal(0, 4, place.shape)
    speed = np.abs(np.convolve(rng.standard_normal(N_BINS), np.ones(40) / 6, mode="same")) * 5
    preferred = 2 * np.pi * np.arange(N_UNITS) / N_UNITS
    rate = 0.03 + 1.5 * np.exp(5 * (np.cos(heading[:, None] - preferred) - 1))
    seen = heading.copy()
    seen[:20] = np.nan
    block = np.arange(N_BINS) // 200
    covariates = (
        Covariate(name="heading", values=seen, kind="circular", period=2 * np.pi, physical_unit="rad"),
        Covariate(name="position", values=place, kind="position", physical_unit="cm", channels=("x", "y")),
        Covariate(name="speed", values=speed, kind="linear", physical_unit="cm/s"),
        Covariate(name="light", values=(block // 3 % 2).astype(float), kind="discrete", categories=("off", "on")),
    )
    session = BinnedSession(
        session_id="written-1",
        activity=rng.poisson(rate).astype(np.uint8),
        units=pd.DataFrame({"id": [f"u{i}" for i in range(N_UNITS)], "region": ["adn"] * 9 + ["post"] * 6, "kind": ""}),
        start_ns=(np.arange(N_BINS) * round(BIN_S * 1e9)).astype(np.int64),
        trial=np.full(N_BINS, -1, dtype=np.int32),
        split=np.array([0, 0, 0, 1, 2], dtype=np.int8)[block % 5],
        covariates={covariate.name: covariate for covariate in covariates},
    )
    return Binned(sessions=(session,), bin_s=BIN_S, activity_kind="counts")


def preferred_direction(instance: int, latent: int) -> float:
    """Where latent i of the written run's own model points (rad)."""
    return float(2 * np.pi * ((latent * 7 + 11 * instance) % N_LATENTS) / N_LATENTS)


def _space(rng: np.random.Generator, heading: np.ndarray, *, signed: bool, width: float) -> LatentSpace:
    """The last latent but one is dense, the last is dead."""
    codes: list[Any] = []
    for instance in range(2):
        centres = np.array([preferred_direction(instance, latent) for latent in range(N_LATENTS)])
        away = np.angle(np.exp(1j * (heading[:, None] - centres)))
        bump = np.exp(-((away / width) ** 2) / 2) * rng.gamma(4, 0.25, away.shape)
        bump[(rng.random(away.shape) < 0.5) | (bump < 0.35)] = 0
        bump[:, -2] = rng.random(len(heading)) + 0.1
        bump[:, -1] = 0
        codes.append(bump - 0.3 if signed else sparse.csc_array(bump.astype(np.float32)))
    return LatentSpace(
        codes=np.stack(codes).astype(np.float32) if signed else tuple(codes),
        session_ids=("written-1",),
        row_offsets=np.array([0, N_BINS]),
        code_kind="signed" if signed else "nonnegative",
        level_sizes=() if signed else (16, N_LATENTS),
    )


def _mapping(rng: np.random.Generator, space: LatentSpace) -> MapperResult:
    signs = (1, -1) if space.code_kind == "signed" else (0,)
    rows: list[dict[str, Any]] = []
    for instance in range(2):
        for latent in range(N_LATENTS):
            for sign in signs:
                for variable, conditions in (
                    ("heading", ("0 to 90°", "90 to 180°")),
                    ("light", ("off", "on")),
                    ("speed", ()),
                ):
                    for condition in (None, *conditions):
                        whole = condition is None
                        score = rng.random(3).round(4)
                        rows.append(
                            {
                                "instance": instance,
                                "latent": latent,
                                "sign": sign,
                                "variable": variable,
                                "condition": condition,
                                "split": "test",
                                "coverage": np.nan if whole else score[0],
                                "specificity": np.nan if whole else score[1],
                                "auroc": np.nan if whole else score[2],
                                "youden": np.nan if whole else score[0] + score[1] - 1,
                                "q": rng.choice([0.004, 0.02, 0.3]) if whole else np.nan,
                                "p": 0.002 if whole else np.nan,
                                "statistic": "mutual information" if whole else None,
                                "mutual_information": score[0] if whole else np.nan,
                                "resultant_length": score[1] if whole and variable == "heading" else np.nan,
                                "n_active": int(rng.integers(20, 900)),
                                "n_visits": int(rng.integers(5, 90)),
                                "supported": latent % 9 != 4 and latent < N_LATENTS - 1,
                            }
                        )
    frame = pd.DataFrame(rows)
    return MapperResult(table=mapping_table({name: frame[name] for name in frame.columns}))


def _metrics(rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for model, r2 in (("model", 0.93), ("pca", 0.9), ("random-encoder", 0.41)):
        for instance in range(2):
            for split in ("train", "test"):
                scores = {
                    "r2": r2 + rng.normal(0, 0.01),
                    "fvu": 1 - r2,
                    "cosine": r2**0.5,
                    "bits_per_spike": r2,
                    "l0_mean": 2.0,
                }
                rows.append(
                    {
                        "model": model,
                        "instance": instance,
                        "level": 0,
                        "lag_s": 0.0,
                        "split": split,
                        **scores,
                        "dead_share": 1 / 48,
                    }
                )
    return pd.DataFrame(rows)


def _history(rng: np.random.Generator) -> pd.DataFrame:
    steps = np.arange(0, 2000, 20)
    frames = [
        pd.DataFrame(
            {"step": steps, "instance": i, "name": name, "value": top * np.exp(-steps / 400) + rng.random(100) * 0.03}
        )
        for i in range(2)
        for name, top in (("loss", 1.0), ("l0", 3.0))
    ]
    return pd.concat(frames, ignore_index=True)
