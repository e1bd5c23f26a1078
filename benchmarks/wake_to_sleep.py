"""Head direction: latents' tuning on held-out halves of wake, and what a model fitted in wake says of sleep."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from reporting import announce, conclude
from side_by_side import configured, fitted, spread

from nldisco_core.ablation import MIN_ACTIVE
from nldisco_core.binned import SPLITS, Binned, Covariate
from nldisco_core.composition import compose, plan
from nldisco_core.dominance import single_unit_dominance, strongest_units
from nldisco_core.interfaces import LatentModel, Reconstructs
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.metrics import evaluate
from nldisco_core.pipeline import load_binned
from nldisco_core.preprocessing import preprocess
from nldisco_core.relations import copy_or_composite
from nldisco_core.tuning import halves, polar_curve, preferred_direction, resultant_length, stability

CONTROLS: Mapping[str, Mapping[str, object]] = {
    "raw-units": {},
    "nmf": {},
    "random-encoder": {},
    "unit-shuffled-sae": {},
}
N_DIRECTIONS, SMOOTH_BINS = 60, 2.0
DECODED_BINS, MIN_SPIKES = 3, 3
NEAR_DEG = 30.0
TUNED, RESTS = 0.5, 0.2
N_TURNS, N_ORDERS = 20, 1000
OWN = "matryoshka-sae"

Floats = NDArray[np.float64]
Rows = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Wake and sleep, as recorded and as the models see them; sleep on the scale of wake."""

    counts: Binned
    data: Binned
    sleep_counts: Binned
    sleep: Binned

    @classmethod
    def loaded(cls) -> Recording:
        """The bundled recording, binned as the demo bins it."""
        config = compose(preset="head-direction-demo")
        counts, data = load_binned(plan(config))
        asleep = config.model_copy(update={"bin": config.bin.model_copy(update={"epoch": "sleep"})})
        sleep_counts, _ = load_binned(plan(asleep))
        done = data.preprocessing
        sleep = preprocess(sleep_counts, smooth_s=done.smooth_s, normalise=done.normalise, statistics=done.statistics)
        return cls(counts=counts, data=data, sleep_counts=sleep_counts, sleep=sleep)

    def rows(self, split: str) -> Rows:
        """(n_bins,) wake bins of a split."""
        return np.asarray(self.data.split == SPLITS.index(split))

    @property
    def heading(self) -> Covariate:
        """Where the head points in wake."""
        return self.data.covariate("head_direction")


def _apart_deg(one: Floats, other: Floats) -> Floats:
    """Size of the difference of two directions (rad), in degrees from 0 to 180."""
    return np.asarray(np.rad2deg(np.abs(np.angle(np.exp(1j * (one - other))))))


def _curves(space: LatentSpace, instance: int, heading: Covariate, rows: Rows) -> tuple[Floats, Floats]:
    found = polar_curve(space, instance, heading, rows, n_bins=N_DIRECTIONS, smooth_bins=SMOOTH_BINS)
    return found.mean, found.conditions.centres


def _active(space: LatentSpace, instance: int, rows: Rows) -> NDArray[np.int64]:
    return np.asarray((space.dense(instance)[rows] > 0).sum(axis=0))


def held_out(space: LatentSpace, recording: Recording, rng: np.random.Generator) -> pd.DataFrame:
    """Per instance: how the tuning of supported latents agrees between the two halves of the test bins.

    The null turns the heading in a circle against the latents, by one shift of at least ten seconds for each draw.
    """
    test, heading = recording.rows("test"), recording.heading
    parts = halves(test, recording.data)
    found = []
    for instance in range(space.n_instances):
        supported = np.min([_active(space, instance, part) for part in parts], axis=0) >= MIN_ACTIVE
        (one, angles), (other, _) = (_curves(space, instance, heading, part) for part in parts)
        apart = _apart_deg(preferred_direction(one, angles), preferred_direction(other, angles))[supported]
        shifted = [
            _apart_deg(preferred_direction(one, angles), preferred_direction(turned, angles))[supported]
            for turned in _turned(space, instance, recording, parts[1], rng)
        ]
        found.append(
            {
                "supported": supported.sum(),
                "resultant length": np.median(resultant_length(one, angles)[supported]),
                **_agreement(apart, np.ravel(shifted)),
                "curves r": np.nanmedian(stability(one, other)[supported]),
            }
        )
    return pd.DataFrame(found)


def _turned(
    space: LatentSpace, instance: int, recording: Recording, rows: Rows, rng: np.random.Generator, n: int = N_TURNS
) -> list[Floats]:
    """Curves of some bins with the heading turned in a circle against them."""
    heading, places = recording.heading, np.flatnonzero(rows)
    least = round(10 / recording.data.bin_s)
    curves = []
    for shift in rng.integers(least, len(places) - least, size=n):
        values = heading.values.copy()
        values[places] = values[np.roll(places, shift)]
        curves.append(_curves(space, instance, replace(heading, values=values), rows)[0])
    return curves


def _correlations(space: LatentSpace, instance: int, rows: Rows, kept: Rows) -> Floats:
    """Correlations of every pair of the kept latents over some bins."""
    values = np.corrcoef(space.dense(instance)[rows][:, kept].T)
    return np.asarray(values[np.triu_indices(len(values), k=1)])


def pair_structure(
    wake: LatentSpace, sleep: LatentSpace, recording: Recording, rng: np.random.Generator
) -> pd.DataFrame:
    """Per instance: whether latents that go together in wake go together in sleep (Peyrache et al. 2015).

    ``r`` is Pearson's over pairs of latents between their correlation in the test bins of wake and in sleep; ``p`` and
    ``chance`` are from latents permuted in sleep (Mantel 1967). ``with heading``: between the correlation in sleep and
    the cosine of the difference of preferred directions in wake.
    """
    test = recording.rows("test")
    whole = np.ones(sleep.n_rows, dtype=bool)
    found = []
    for instance in range(wake.n_instances):
        kept = (_active(wake, instance, test) >= MIN_ACTIVE) & (_active(sleep, instance, whole) >= MIN_ACTIVE)
        awake, asleep = _correlations(wake, instance, test, kept), _correlations(sleep, instance, whole, kept)
        pairs = np.array(list(combinations(range(kept.sum()), 2)))
        square = np.zeros((kept.sum(), kept.sum()))
        square[pairs[:, 0], pairs[:, 1]] = square[pairs[:, 1], pairs[:, 0]] = asleep
        curves, angles = _curves(wake, instance, recording.heading, recording.rows("train"))
        direction = preferred_direction(curves, angles)[kept]
        near = np.cos(direction[pairs[:, 0]] - direction[pairs[:, 1]])
        orders = [rng.permutation(kept.sum()) for _ in range(N_ORDERS)]
        permuted = [square[order[pairs[:, 0]], order[pairs[:, 1]]] for order in orders]
        chance = np.array([np.corrcoef(awake, one)[0, 1] for one in permuted])
        r = np.corrcoef(awake, asleep)[0, 1]
        found.append(
            {
                "latents": kept.sum(),
                "r": r,
                "chance, 95 %": np.quantile(chance, 0.95),
                "p": (1 + (chance >= r).sum()) / (1 + len(chance)),
                "with heading": np.corrcoef(near, asleep)[0, 1],
            }
        )
    return pd.DataFrame(found)


def decoded(counts: Binned, recording: Recording, left_out: int) -> Covariate:
    """Heading that the ADN units but one say, by maximum likelihood under Poisson tuning of wake's training bins.

    Spikes of three bins are taken together; bins with fewer than three of them are left undefined.
    """
    units = np.flatnonzero((recording.data.units["region"] == "adn") & (np.arange(recording.data.n_units) != left_out))
    awake = LatentSpace(
        codes=recording.counts.activity[None].astype(np.float64),
        session_ids=("wake",),
        row_offsets=recording.counts.row_offsets,
    )
    curves, angles = _curves(awake, 0, recording.heading, recording.rows("train"))
    rate = np.maximum(curves[units], 1e-3)
    spikes = sum(np.roll(counts.activity[:, units].astype(np.float64), lag, axis=0) for lag in (-1, 0, 1))
    likelihood = spikes @ np.log(rate) - DECODED_BINS * rate.sum(axis=0)
    best = angles[likelihood.argmax(axis=1)]
    known = spikes.sum(axis=1) >= MIN_SPIKES
    return replace(recording.heading, values=np.where(known, best % (2 * np.pi), np.nan)[:, None])


def direction_in_sleep(
    strongest: NDArray[np.int64],
    wake: LatentSpace,
    sleep: LatentSpace,
    recording: Recording,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Per instance: preferred directions in sleep, by the heading that other units say, beside those in wake.

    Latents count that are tuned in wake (resultant length above .5) and active in sleep. The unit that a latent rests
    on most is left out of the heading that it is held against. The null turns this heading in a circle against the
    latents by at least ten seconds.

    Parameters
    ----------
    strongest : (n_instances, n_latents) column of that unit
    """
    whole = np.ones(sleep.n_rows, dtype=bool)
    headings = {unit: decoded(recording.sleep_counts, recording, unit) for unit in np.unique(strongest[strongest >= 0])}
    found = []
    for instance in range(wake.n_instances):
        curves, angles = _curves(wake, instance, recording.heading, recording.rows("train"))
        awake = preferred_direction(curves, angles)
        tuned = (resultant_length(curves, angles) > TUNED) & (_active(sleep, instance, whole) >= MIN_ACTIVE)
        apart, chance = [], []
        for unit, heading in headings.items():
            mine = tuned & (strongest[instance] == unit)
            if not mine.any():
                continue
            apart.extend(_apart_deg(awake, _preferred(sleep, instance, heading, whole))[mine])
            for shift in rng.integers(200, sleep.n_rows - 200, size=N_TURNS):
                turned = replace(heading, values=np.roll(heading.values, shift, axis=0))
                chance.extend(_apart_deg(awake, _preferred(sleep, instance, turned, whole))[mine])
        found.append({"tuned": len(apart), **_agreement(np.array(apart), np.array(chance))})
    return pd.DataFrame(found)


def _preferred(space: LatentSpace, instance: int, heading: Covariate, rows: Rows) -> Floats:
    return preferred_direction(*_curves(space, instance, heading, rows))


def _agreement(apart: Floats, chance: Floats) -> dict[str, float]:
    """How far directions are apart, beside chance; NaN without any."""
    if not len(apart):
        return dict.fromkeys(("apart (deg)", "apart by chance", "within 30 deg", "by chance"), np.nan)
    return {
        "apart (deg)": float(np.median(apart)),
        "apart by chance": float(np.median(chance)),
        "within 30 deg": float(np.mean(apart < NEAR_DEG)),
        "by chance": float(np.mean(chance < NEAR_DEG)),
    }


def behind(model: LatentModel, latents: Latents, recording: Recording) -> pd.DataFrame:
    """Per instance: share of copies of a unit, and what silencing the strongest unit leaves of a latent."""
    rows = recording.rows("test")
    copies = copy_or_composite(latents.main, recording.data, rows=rows)
    left = single_unit_dominance(model, latents, recording.data, rows=rows)
    table = copies.merge(left, on=["instance", "latent"]).dropna(subset=["copy", "remaining"])
    by_instance = table.groupby("instance")
    return pd.DataFrame(
        {
            "copies": by_instance["copy"].apply(lambda copy: copy.astype(float).mean()),
            "left without strongest unit": by_instance["remaining"].median(),
            "rests on one unit": by_instance["remaining"].apply(lambda left: (left < RESTS).mean()),
        }
    ).reset_index(drop=True)


def quality(model: LatentModel, latents: Latents, asleep: Latents, recording: Recording) -> pd.DataFrame:
    """Per instance: R² and active latents a bin, in the test bins of wake and in sleep."""
    if not isinstance(model, Reconstructs):
        return pd.DataFrame()
    awake = evaluate(model, latents, recording.data, counts=None).summary
    sleep = evaluate(model, asleep, recording.sleep, counts=None).summary
    awake = awake[(awake["split"] == "test") & (awake["level"] == awake["level"].max())].set_index("instance")
    sleep = sleep[(sleep["split"] == "test") & (sleep["level"] == sleep["level"].max())].set_index("instance")
    columns = {"r2": "R²", "l0_mean": "L0"}
    return pd.DataFrame(
        {
            f"{label} {name}": part[key]
            for key, label in columns.items()
            for name, part in (("wake", awake), ("sleep", sleep))
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    asked = parser.parse_args()
    announce("head direction: held-out halves of wake, and sleep; fitted on training bins of wake alone")
    recording, rng = Recording.loaded(), np.random.default_rng(0)
    settings = {key: value for key, value in compose(preset="head-direction-demo").model.items() if key != "name"}
    config = configured("matryoshka-sae", settings | {"seeds": list(range(asked.seeds))})
    tables: dict[str, dict[str, pd.DataFrame]] = {}
    for name in (OWN, *CONTROLS):
        matched = config
        if name != OWN:
            matched = configured(name, CONTROLS[name]).matched(
                reference=config, n_latents=16, l0=2.0, n_units=recording.data.n_units
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = fitted(name, matched, recording.data)
        latents, asleep = model.transform(recording.data), model.transform(recording.sleep)
        strongest = strongest_units(model, latents, recording.data, rows=recording.rows("test"))
        tables[name] = {
            "units behind latents, test bins of wake": behind(model, latents, recording),
            "tuning to heading in two halves of the test bins": held_out(latents.main, recording, rng),
            "reconstruction": quality(model, latents, asleep, recording),
            "correlations of pairs of latents, wake against sleep": pair_structure(
                latents.main, asleep.main, recording, rng
            ),
            "preferred direction in sleep, by the heading other units say": direction_in_sleep(
                strongest, latents.main, asleep.main, recording, rng
            ),
        }
    for title in tables[OWN]:
        rows = {
            name: {column: spread(found[title][column]) for column in found[title]} for name, found in tables.items()
        }
        print(f"\n{title}\n{pd.DataFrame(rows).T.fillna('').to_string()}")
    awake = decoded(recording.counts, recording, -1)
    test = recording.rows("test") & awake.defined & recording.heading.defined
    error = _apart_deg(awake.values[test, 0], recording.heading.values[test, 0])
    print(f"\nheading said by all adn units in test bins of wake: median error {np.median(error):.0f} deg")
    print(
        "not promised: that latents agree better than units. Most copy a unit here, heading is kept in sleep by the "
        "cells themselves, and untrained latents that share units go together in wake and sleep for that reason alone"
    )
    _conclude(tables[OWN])


def _conclude(own: Mapping[str, pd.DataFrame]) -> None:
    halves_of_wake, pairs, sleep = (
        own[title]
        for title in (
            "tuning to heading in two halves of the test bins",
            "correlations of pairs of latents, wake against sleep",
            "preferred direction in sleep, by the heading other units say",
        )
    )
    conclude(
        {
            "halves of wake: preferred directions within 15 deg, every seed": halves_of_wake["apart (deg)"].max() < 15,
            "halves of wake: chance at 60 deg or more": halves_of_wake["apart by chance"].min() >= 60,
            "pairs in sleep as in wake, p <= .05 for every seed": pairs["p"].max() <= 0.05,
            "directions in sleep within 45 deg, every seed": sleep["apart (deg)"].max() < 45,
            "directions in sleep: chance at 60 deg or more": sleep["apart by chance"].min() >= 60,
        }
    )


if __name__ == "__main__":
    main()
