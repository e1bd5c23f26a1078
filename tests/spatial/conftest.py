"""A simulated animal that forages in a box, and latents of every spatial kind."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage, sparse

from nldisco_core.binned import Binned, BinnedSession, Covariate
from nldisco_core.latents import Latents, LatentSpace

N_BINS, BIN_S, SIDE_CM = 12_000, 0.1, 100.0
PLACE_CM, HEADING_RAD, SPACING_CM = (70.0, 30.0), 2.0, 40.0


def _forage(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Position (cm), heading (rad) and speed (cm/s) of an animal that turns back at the walls."""
    speed = 20 * np.abs(ndimage.gaussian_filter1d(rng.standard_normal(N_BINS), 8)) * np.sqrt(2 * 8 * np.sqrt(np.pi))
    turn = ndimage.gaussian_filter1d(rng.standard_normal(N_BINS), 4) * 1.2
    position, heading = np.empty((N_BINS, 2)), np.empty(N_BINS)
    place, angle = np.array([50.0, 50.0]), 0.0
    for row in range(N_BINS):
        angle += turn[row]
        step = speed[row] * BIN_S * np.array([np.cos(angle), np.sin(angle)])
        outside = (place + step < 0) | (place + step > SIDE_CM)
        step = np.where(outside, -step, step)
        angle = np.arctan2(step[1], step[0]) if outside.any() else angle
        place = np.clip(place + step, 0, SIDE_CM)
        position[row], heading[row] = place, angle % (2 * np.pi)
    return position, heading, speed


def _rates(position: np.ndarray, heading: np.ndarray, speed: np.ndarray) -> np.ndarray:
    """(n_bins, 5) drive of a grid, a border, a place, a head-direction and a speed cell."""
    k = 4 * np.pi / (np.sqrt(3) * SPACING_CM)
    waves = [np.cos(k * (position @ (np.cos(a), np.sin(a)))) for a in (0.1, 0.1 + np.pi / 3, 0.1 + 2 * np.pi / 3)]
    return np.stack(
        [
            np.maximum(np.sum(waves, axis=0), 0) / 3,
            (position[:, 0] < 8) * 1.0,
            np.exp(-((position - PLACE_CM) ** 2).sum(axis=1) / (2 * 12.0**2)),
            np.exp(4 * (np.cos(heading - HEADING_RAD) - 1)),
            speed / speed.max(),
        ],
        axis=1,
    )


KINDS = ("grid", "border", "place", "heading", "speed")


@pytest.fixture(scope="session")
def foraging() -> tuple[Latents, Binned]:
    """Instance 0 holds a latent of each kind and a dead one; instance 1 the same of another walk."""
    rng = np.random.default_rng(5)
    position, heading, speed = _forage(rng)
    own, other = _rates(position, heading, speed), _rates(*_forage(rng))
    counts = [np.column_stack([rng.poisson(3 * drive), np.zeros(N_BINS)]).astype(np.float32) for drive in (own, other)]
    seen = position.copy()
    seen[100:160] = np.nan  # the tracker lost the animal
    covariates = (
        Covariate(name="position", values=seen, kind="position", physical_unit="cm", channels=("x", "y")),
        Covariate(name="heading", values=heading, kind="circular", period=2 * np.pi, physical_unit="rad"),
        Covariate(name="speed", values=speed, kind="linear", physical_unit="cm/s"),
        Covariate(name="height", values=rng.standard_normal(N_BINS), kind="linear", physical_unit="cm"),
    )
    block = np.arange(N_BINS) // 100
    session = BinnedSession(
        session_id="box-1",
        activity=counts[0][:, :5].astype(np.uint8),
        units=pd.DataFrame({"id": list(KINDS), "region": "mec", "kind": ""}),
        start_ns=(np.arange(N_BINS) * round(BIN_S * 1e9)).astype(np.int64),
        trial=np.full(N_BINS, -1, dtype=np.int32),
        split=np.array([0, 0, 2], dtype=np.int8)[block % 3],
        covariates={covariate.name: covariate for covariate in covariates},
    )
    data = Binned(sessions=(session,), bin_s=BIN_S, activity_kind="counts")
    space = LatentSpace(
        codes=tuple(sparse.csc_array(count) for count in counts),
        session_ids=("box-1",),
        row_offsets=data.row_offsets,
    )
    return Latents.of(space), data
