"""Gradient times input, against finite differences of what the encoder says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from nldisco_sae.config import MatryoshkaConfig
from nldisco_sae.matryoshka import MatryoshkaSAE
from nldisco_sae.vanilla import VanillaSAE
from numpy.typing import NDArray

from nldisco_core.binned import Binned
from nldisco_core.config import parse
from nldisco_core.conformance.toys import toy_binned
from nldisco_core.contributions import attributed_units
from nldisco_core.dominance import single_unit_dominance, strongest_units
from nldisco_core.errors import IncompatibleData, NotFitted
from nldisco_core.interfaces import Attributes
from nldisco_core.latents import LatentSpace

ENCODERS = ("linear", "convolution", "transformer")
SMALL = {"levels": {4: 1, 8: 2}, "epochs": 4, "seeds": (0, 1), "encoder_width": 8, "encoder_heads": 2, "batch_size": 64}


def recording(n_bins: int = 500, n_units: int = 6, *, masked: bool = False) -> Binned:
    """Trials of 25 bins with smooth activity, in two regions."""
    data = toy_binned(n_bins=n_bins, n_units=n_units, n_trials=n_bins // 25)
    session, rng = data.sessions[0], np.random.default_rng(0)
    values = (session.activity + rng.gamma(1.0, 0.3, session.activity.shape)).astype(np.float32)
    observed = rng.random(values.shape) < 0.9 if masked else None
    values = values if observed is None else np.where(observed, values, 0).astype(np.float32)
    return replace(data, sessions=(replace(session, activity=values, observed=observed),), activity_kind="continuous")


def fitted(data: Binned, monitor: Any, **settings: Any) -> MatryoshkaSAE:
    model = MatryoshkaSAE(parse(MatryoshkaConfig, SMALL | settings))
    model.fit(data, validation=None, monitor=monitor)
    return model


def active_examples(space: LatentSpace, instance: int, latent: int, rows: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.flatnonzero((space.dense(instance)[:, latent] != 0) & rows)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_attribution_equals_finite_differences(encoder: str, monitor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nldisco_sae.attribution.MAX_EXAMPLES", 10_000)
    window, regions = 3, {"region": ("a",)}
    data = recording(masked=True)
    model = fitted(data, monitor, encoder=encoder, window=window, input_units=regions, target_units=regions)
    assert isinstance(model, Attributes)
    latents = model.transform(data)
    rows = np.arange(data.n_bins) % 4 != 0
    found = model.attribution(latents, data, rows=rows)
    columns = np.flatnonzero(data.units["region"] == "a")
    assert found.unit_ids == tuple(data.units["id"].iloc[columns])
    assert found.values.shape == (2, 8, 3, window)
    assert found.lags_s == pytest.approx((-0.1, -0.05, 0.0))

    assert model._fitted is not None
    observed = data.observed
    assert observed is not None
    mean = model._fitted.parameters.input_mean.numpy().reshape(-1, 3)[0]
    x = np.where(observed[:, columns], data.activity[:, columns], mean).astype(np.float64)
    for instance, single in enumerate(model._fitted.parameters.instances()):
        double = replace(single, **{name: tensor.double() for name, tensor in single.named().items()})
        weights, offset = double.anchor_map()

        def says(windows: NDArray[np.float64], encoder: Any = double, w: Any = weights, b: Any = offset) -> Any:
            return (encoder.anchor_features(torch.from_numpy(windows)) @ w + b).numpy()

        for latent in range(8):
            examples = active_examples(latents.main, instance, latent, rows)
            assert found.n_examples[instance, latent] == len(examples)
            if not len(examples):
                assert np.isnan(found.values[instance, latent]).all()
                continue
            windows = np.stack([x[end - window + 1 : end + 1].ravel() for end in examples])
            said = latents.main.dense(instance)[examples, latent]
            np.testing.assert_allclose(says(windows)[:, latent], said, rtol=1e-3, atol=1e-4)
            for unit in range(3):
                for lag in range(window):
                    step = np.zeros(window * 3)
                    step[lag * 3 + unit] = 1e-5
                    slope = (says(windows + step) - says(windows - step))[:, latent] / 2e-5
                    expected = np.mean(slope * windows[:, lag * 3 + unit])
                    got = found.values[instance, latent, unit, lag]
                    assert got == pytest.approx(expected, abs=1e-6)


def test_shares_of_a_linear_encoder_add_up_to_the_activation(monitor: Any) -> None:
    data = recording()
    model = fitted(data, monitor)
    latents = model.transform(data)
    found = model.attribution(latents, data)
    assert model._fitted is not None
    rest = model._fitted.parameters.offset()[:, 0].numpy()
    for instance in range(2):
        for latent in range(8):
            values = latents.main.dense(instance)[:, latent]
            if (values != 0).any() and (values != 0).sum() <= 256:
                total = found.values[instance, latent].sum() + rest[instance, latent]
                assert total == pytest.approx(values[values != 0].mean(), abs=1e-4)


def test_few_examples_stand_for_many(monitor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = recording()
    model = fitted(data, monitor)
    latents = model.transform(data)
    whole = model.attribution(latents, data)
    monkeypatch.setattr("nldisco_sae.attribution.MAX_EXAMPLES", 20)
    few = model.attribution(latents, data)
    assert few.n_examples.max() == 20
    used = few.n_examples == 20
    correlation = np.corrcoef(few.values[used].ravel(), whole.values[used].ravel())[0, 1]
    assert correlation > 0.95


def test_the_unit_that_drives_a_latent_is_named_with_its_lag(monitor: Any) -> None:
    data = recording()
    model = fitted(data, monitor, encoder="convolution", window=3)
    found = model.attribution(model.transform(data), data)
    table = attributed_units(found, n_units=2)
    for row in table.itertuples():
        values = found.values[row.instance, row.latent]
        unit = found.unit_ids.index(row.unit)
        assert row.attribution == pytest.approx(values[unit].sum(), abs=1e-9)
        assert np.sum(values.sum(axis=1) > row.attribution) == row.rank - 1
        assert row.at_lag == values[unit].max()
        assert row.lag_s == found.lags_s[int(np.argmax(values[unit]))]
    active = found.n_examples > 0
    assert len(table) == 2 * active.sum()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_silencing_a_unit_of_a_windowed_model_equals_encoding_all_bins_again(encoder: str, monitor: Any) -> None:
    data = recording()
    model = fitted(data, monitor, encoder=encoder, window=3)
    latents = model.transform(data)
    units = strongest_units(model, latents, data)
    table = single_unit_dominance(model, latents, data)
    for latent in range(8):
        values = latents.main.dense(1)[:, latent]
        if not (0 < (values > 0).sum() <= 64):
            continue
        activity = data.sessions[0].activity.copy()
        activity[:, units[1, latent]] = 0
        silent = replace(data, sessions=(replace(data.sessions[0], activity=activity),))
        left = model.transform(silent).main.dense(1)[values > 0, latent].sum()
        row = table.query("instance == 1 and latent == @latent").iloc[0]
        assert row["remaining"] == pytest.approx(left / values.sum(), abs=1e-5)
        assert row["silenced"] == data.units["id"].iloc[units[1, latent]]


def test_other_latents_units_or_no_fit_are_refused(monitor: Any) -> None:
    data = recording()
    model = fitted(data, monitor)
    latents = model.transform(data)
    with pytest.raises(IncompatibleData, match="give the bins"):
        model.attribution(latents, data.rows(np.arange(data.n_bins) < 100))
    with pytest.raises(IncompatibleData, match="instances"):
        fitted(data, monitor, seeds=(3,)).attribution(latents, data)
    with pytest.raises(IncompatibleData, match="units"):
        model.attribution(latents, recording(n_units=4))
    with pytest.raises(NotFitted):
        VanillaSAE(VanillaSAE.config_class()).attribution(latents, data)
