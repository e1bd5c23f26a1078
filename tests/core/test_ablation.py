"""Ablation against leaving each latent out in a plain loop, for linear and other outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from nldisco_core import ablation
from nldisco_core.ablation import MIN_ACTIVE, ablation_importance, latent_metrics
from nldisco_core.binned import Binned, BinnedSession
from nldisco_core.errors import DataError, IncompatibleData, ModelError
from nldisco_core.interfaces import Dictionary, ReconstructionBlock
from nldisco_core.latents import Latents, LatentSpace

OUTPUTS: dict[str, Callable[[Any], Any]] = {
    "identity": lambda values: values,
    "relu": lambda values: np.maximum(values, 0),
    "softplus": lambda values: np.log1p(np.exp(values)),
    "exp": lambda values: np.exp(0.3 * values),
}


class Decoder:
    """output(offset + codes @ dictionary), in blocks of sixteen rows."""

    def __init__(self, weights: np.ndarray, offset: np.ndarray, output: str = "identity") -> None:
        self.weights, self.offset, self.output, self.rows = weights.astype(np.float32), offset, OUTPUTS[output], 0

    def dictionary(self) -> Dictionary:
        lags = (0.0,) if self.weights.ndim == 3 else tuple(0.05 * lag for lag in range(self.weights.shape[3]))
        return Dictionary(values=self.weights, unit_ids=(("u0",),), lags_s=lags)

    def reconstruct(self, latents: Latents) -> Iterator[ReconstructionBlock]:
        space = latents.main
        for instance in range(space.n_instances):
            for start in range(0, space.n_rows, 16):
                rows = slice(start, min(start + 16, space.n_rows))
                values = self.output(space.dense(instance)[rows] @ self.weights[instance] + self.offset)
                self.rows += len(values)
                yield ReconstructionBlock(instance=instance, level=0, rows=rows, values=values.astype(np.float32))


def binned(activity: np.ndarray, split: np.ndarray, observed: np.ndarray | None = None) -> Binned:
    session = BinnedSession(
        session_id="s",
        activity=activity,
        units=pd.DataFrame({"id": [f"u{unit}" for unit in range(activity.shape[1])]}),
        start_ns=np.arange(len(activity), dtype=np.int64) * 50_000_000,
        trial=np.full(len(activity), -1, dtype=np.int32),
        split=split.astype(np.int8),
        observed=observed,
    )
    return Binned(sessions=(session,), bin_s=0.05, activity_kind="continuous")


def latents_of(codes: np.ndarray, data: Binned, *, is_sparse: bool = True) -> Latents:
    """(n_instances, n_rows, n_latents) activations as latents."""
    kept = tuple(sparse.csc_array(code) for code in codes) if is_sparse else codes
    return Latents.of(LatentSpace(codes=kept, session_ids=("s",), row_offsets=data.row_offsets))


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    codes = (rng.gamma(1, 1, (2, 50, 5)) * (rng.random((2, 50, 5)) < 0.4)).astype(np.float32)
    codes[:, :, 3] = 0
    return codes, rng.normal(size=(2, 5, 4)).astype(np.float32), rng.normal(size=4).astype(np.float32), rng


@given(
    seed=st.integers(0, 10_000),
    masked=st.booleans(),
    is_sparse=st.booleans(),
    output=st.sampled_from(list(OUTPUTS)),
)
@settings(max_examples=40, deadline=None)
def test_importance_equals_leaving_each_latent_out(seed: int, masked: bool, is_sparse: bool, output: str) -> None:
    codes, weights, offset, rng = drawn(seed)
    truth = OUTPUTS[output](codes[1] @ weights[1] + offset)
    activity = truth + rng.normal(0, 0.5, (50, 4))
    split = np.arange(50) % 3
    seen = rng.random((50, 4)) < (0.8 if masked else 1.0)
    data = binned(np.where(seen, activity, 0), split, seen if masked else None)
    model: Any = Decoder(weights, offset, output)
    found = ablation_importance(model, latents_of(codes, data, is_sparse=is_sparse), data, split="test")
    rows = split == 2

    def sse(instance: int, kept: np.ndarray) -> float:
        predicted = OUTPUTS[output]((codes[instance] * kept).astype(np.float64) @ weights[instance] + offset)
        return float(((activity - predicted)[rows][seen[rows]] ** 2).sum())

    sst = sum(((y := activity[rows & seen[:, unit], unit]) - y.mean()) @ (y - y.mean()) for unit in range(4))
    for instance in range(2):
        loop = [(sse(instance, np.arange(5) != latent) - sse(instance, np.ones(5))) / sst for latent in range(5)]
        assert found[instance] == pytest.approx(loop, rel=1e-3, abs=1e-3)
    assert (found[:, 3] == 0).all()


def test_only_bins_in_which_a_latent_is_active_are_reconstructed_again() -> None:
    codes, weights, offset, _ = drawn(0)
    data = binned(np.ones((50, 4)) + np.arange(50)[:, None], np.full(50, 2))
    model: Any = Decoder(weights, offset, "relu")
    ablation_importance(model, latents_of(codes, data), data, split="test")
    either = (codes != 0).any(axis=0).sum()
    assert model.rows == 2 * (50 + either)


def test_levels_selected_apart_lose_the_latent_at_every_level() -> None:
    codes, weights, offset, rng = drawn(1)
    data = binned(OUTPUTS["relu"](codes[0] @ weights[0] + offset) + 0.1 * rng.normal(size=(50, 4)), np.full(50, 2))
    csc = [sparse.csc_array(code) for code in codes]
    space = LatentSpace(
        codes=tuple(csc),
        session_ids=("s",),
        row_offsets=data.row_offsets,
        level_sizes=(2, 5),
        level_masks=tuple(np.full(code.nnz, 3, dtype=np.uint8) for code in csc),
    )

    class Levels(Decoder):
        def reconstruct(self, latents: Latents) -> Iterator[ReconstructionBlock]:
            for block in super().reconstruct(latents):
                for level in range(2):
                    yield ReconstructionBlock(
                        instance=block.instance, level=level, rows=block.rows, values=block.values * (0.1, 1.0)[level]
                    )

    model: Any = Levels(weights, offset, "relu")
    plain: Any = Decoder(weights, offset, "relu")
    found = ablation_importance(model, Latents.of(space), data, split="test")
    np.testing.assert_allclose(found, ablation_importance(plain, latents_of(codes, data), data, split="test"))


def test_a_latent_is_alive_with_enough_active_bins_and_something_to_add() -> None:
    rng = np.random.default_rng(0)
    codes = np.zeros((1, 400, 4))
    codes[0, :, 0] = rng.random(400)
    codes[0, : MIN_ACTIVE - 1, 1] = 1.0  # too few
    codes[0, :, 2] = rng.random(400)  # only in the way
    weights = np.eye(4)[None]
    activity = codes[0] @ (np.eye(4) * np.array([1, 1, -1, 1]))
    data = binned(activity, np.full(400, 2))
    model: Any = Decoder(weights, np.zeros(4))
    table = latent_metrics(model, latents_of(codes, data), data, split="test").set_index("latent")
    assert table["alive"].tolist() == [True, False, False, False]
    assert table["n_active"].tolist() == [400, MIN_ACTIVE - 1, 400, 0]
    assert table["density"].tolist() == pytest.approx([1, (MIN_ACTIVE - 1) / 400, 1, 0])
    assert table.loc[0, "mean_active"] == pytest.approx(codes[0, :, 0].mean())
    assert np.isnan(table.loc[3, "mean_active"])
    assert table.loc[2, "importance"] < 0 < table.loc[1, "importance"]


def test_activity_counts_all_bins_of_the_split_though_importance_takes_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    codes = rng.random((1, 4000, 1))
    data = binned(codes[0] @ np.ones((1, 3)), np.arange(4000) // 2000 * 2)
    model: Any = Decoder(np.ones((1, 1, 3)), np.zeros(3))
    monkeypatch.setattr(ablation, "MAX_ROWS", 500)
    table = latent_metrics(model, latents_of(codes, data), data, split="test")
    assert table["n_active"].tolist() == [2000]
    assert model.rows == 500
    assert table["importance"][0] > 1


def test_models_without_a_reconstruction_of_single_bins_have_no_importance() -> None:
    codes, weights, offset, _ = drawn(0)
    data = binned(np.ones((50, 4)), np.full(50, 2))
    latents = latents_of(codes, data)
    windowed: Any = Decoder(weights[..., None].repeat(2, axis=-1), offset)
    for model in (None, object(), windowed):
        table = latent_metrics(model, latents, data, split="test")  # type: ignore[arg-type]
        assert table["importance"].isna().all()
        assert table["alive"].isna().all()
    with pytest.raises(ModelError, match="reconstructs no activity"):
        ablation_importance(object(), latents, data, split="test")  # type: ignore[arg-type]
    constant: Any = Decoder(weights, offset)
    assert np.isnan(ablation_importance(constant, latents, data, split="test")).all()


def test_other_rows_and_splits_are_refused() -> None:
    codes, weights, offset, _ = drawn(0)
    data = binned(np.ones((50, 4)), np.zeros(50))
    model: Any = Decoder(weights, offset)
    with pytest.raises(DataError, match="split"):
        ablation_importance(model, latents_of(codes, data), data, split="tset")
    with pytest.raises(DataError, match="holds no bins"):
        ablation_importance(model, latents_of(codes, data), data, split="test")
    with pytest.raises(IncompatibleData, match="bins they were made of"):
        ablation_importance(model, latents_of(codes, data), data.rows(np.arange(50) < 20), split="train")
