from __future__ import annotations

from typing import Any

import pytest
import torch
from nldisco_sae import autoencoder
from nldisco_sae.autoencoder import choose_device
from nldisco_sae.config import MatryoshkaConfig
from nldisco_sae.matryoshka import MatryoshkaSAE
from nldisco_sae.memory import available_bytes, needed_bytes
from nldisco_sae.plugin import nldisco_presets

from nldisco_core.composition import compose, plan
from nldisco_core.config import parse
from nldisco_core.errors import ConfigError, ModelError


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"levels": {"8": 9}}, "level of 8 latents with k 9"),
        ({"levels": {"8": 0}}, "k above 0"),
        ({"levels": {"0": 1}}, "at least 1 latent"),
        ({"levels": {}}, "levels"),
        ({"levels": {str(size): 1 for size in range(1, 10)}}, "at most 8"),
        ({"level_weights": [1.0]}, "1 level_weights for 2 levels"),
        ({"level_weights": [0.0, 0.0]}, "not all zero"),
        ({"seeds": [1, 1]}, "seeds must differ"),
        ({"loss": "msl"}, "expected mse, msle, poisson or 'module:function'"),
        ({"warmup": 0.6}, "hold 0.5 ends before warmup 0.6"),
        ({"lr": 0.0}, "lr"),
        ({"batchsize": 4}, "did you mean 'batch_size'"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse(MatryoshkaConfig, settings)


def test_levels_are_put_in_order() -> None:
    assert MatryoshkaConfig(levels={16: 2, 8: 1}).level_sizes == (8, 16)


def test_presets_are_valid_settings() -> None:
    models = {}
    for preset in nldisco_presets():
        config = compose(dataset="head-direction", preset=preset.name)
        models[preset.name] = plan(config).model()[1]
    tutorial = models["nldisco-tutorial"]
    assert isinstance(tutorial, MatryoshkaConfig)
    assert tutorial.levels == {256: 8, 512: 16, 1024: 24}
    assert tutorial.weights == (1.0, 1.25, 1.5)
    assert (tutorial.loss, tutorial.tau, tutorial.lr, tutorial.epochs) == ("msle", 1.0, 5e-3, 20)
    assert (tutorial.warmup, tutorial.hold, tutorial.final_lr) == (0.1, 0.5, 0.01)
    assert (tutorial.batch_size, tutorial.n_instances) == (1024, 2)
    whole = compose(dataset="head-direction", preset="nldisco-tutorial")
    assert (whole.bin.bin_s, whole.preprocess.smooth_s, whole.preprocess.normalise) == (0.05, 0.05, "global-max")
    assert whole.prune.min_r2 == 0.1
    small = models["head-direction-small"]
    assert (small.level_sizes, small.n_instances) == ((8, 16), 5)
    for name, encoder in (("nldisco-window", "linear"), ("nldisco-transformer", "transformer")):
        published = models[name]
        assert (published.level_sizes, published.window, published.encoder) == ((96, 192), 10, encoder)


def test_more_latents_than_memory_are_refused_before_anything_is_allocated(as_binned, monitor) -> None:
    config = MatryoshkaConfig(levels={10**12: 2})
    with pytest.raises(ModelError, match=r"1000000000000 latents .* GiB are available on cpu: choose fewer latents"):
        MatryoshkaSAE(config).fit(as_binned(torch.rand(20, 3).numpy()), validation=None, monitor=monitor)
    assert monitor.reports == []


def test_memory_estimate_covers_parameters_with_optimiser_and_data() -> None:
    config = MatryoshkaConfig(levels={100: 2}, seeds=(0, 1, 2), batch_size=10)
    parameters = 3 * (2 * 100 * 7 + 100 + 7)
    assert needed_bytes(config, n_rows=50, n_units=7) > 4 * (50 * 7 + 4 * parameters)
    assert (available_bytes(torch.device("cpu")) or 1) > 0


def test_a_device_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoencoder.torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == "cpu"
    monkeypatch.setattr(autoencoder.torch.backends.mps, "is_available", lambda: False)
    for device in ("cuda", "mps"):
        with pytest.raises(ModelError, match=f"torch finds no {device.upper()} device"):
            choose_device(device)
