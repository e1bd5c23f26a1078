"""The preset for ensembles on a small simulated recording with known features."""

from __future__ import annotations

import pytest
import torch

from nldisco_core.binned import SPLITS, Binned
from nldisco_core.composition import Plan, compose, plan
from nldisco_core.latents import LatentSpace
from nldisco_core.matched_sparsity import at_sparsity
from nldisco_core.monitoring import FitMonitor
from nldisco_core.pipeline import load_binned
from nldisco_core.plugins import make
from nldisco_core.recovery import BinnedTruth, align_truth, recovery

DATASET = {"duration_s": 1200.0}


@pytest.fixture(scope="module")
def made() -> Plan:
    torch.set_num_threads(1)
    return plan(
        compose(
            dataset="place-ensembles",
            preset="ensembles",
            settings={"dataset": DATASET, "split": {"train": 0.6, "validation": 0.0, "test": 0.4}},
        )
    )


@pytest.fixture(scope="module")
def data(made: Plan) -> Binned:
    return load_binned(made)[1]


@pytest.fixture(scope="module")
def truth(made: Plan, data: Binned) -> BinnedTruth:
    return align_truth([made.dataset.load(name) for name in made.session_ids], data)


@pytest.fixture(scope="module")
def space(made: Plan, data: Binned) -> LatentSpace:
    listed, config = made.model()
    model = listed.load()(config)
    model.fit(data.train(), validation=None, monitor=FitMonitor("ensembles", quiet=True))
    return model.transform(data).main


def n_found(space: LatentSpace, truth: BinnedTruth, data: Binned) -> int:
    train, test = (data.split == SPLITS.index(name) for name in ("train", "test"))
    return int(recovery(space, truth, matched_on=train, scored_on=test).summary["n_found"].iloc[0])


def l0_of(space: LatentSpace, data: Binned) -> float:
    train = data.split == SPLITS.index("train")
    return float(space.rows(train).csc().nnz / train.sum())


def test_the_preset_is_sparse(space: LatentSpace, data: Binned) -> None:
    assert 2 < l0_of(space, data) < 12


@pytest.mark.parametrize("control", ["raw-units", "pca"])
def test_it_finds_more_planted_features_than_a_control_at_its_sparsity(
    control: str, space: LatentSpace, truth: BinnedTruth, data: Binned
) -> None:
    model = make("model", control, {})
    model.fit(data.train(), validation=None, monitor=FitMonitor(control, quiet=True))
    matched = at_sparsity(
        model.transform(data).main,
        l0=l0_of(space, data),
        rule="common",
        chosen_on=data.split == SPLITS.index("train"),
    )
    assert n_found(space, truth, data) > n_found(matched, truth, data) + 1
