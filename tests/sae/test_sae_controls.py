from __future__ import annotations

import numpy as np
from nldisco_sae.config import MatryoshkaConfig, RandomEncoderConfig, UnitShuffledConfig
from nldisco_sae.matryoshka import MatryoshkaSAE
from nldisco_sae.random_encoder import RandomEncoder
from nldisco_sae.unit_shuffled import UnitShuffledSAE, shift_units

from nldisco_core.config import ModelConfig

REFERENCE = MatryoshkaConfig(levels={5: 1.0, 9: 2.0}, selection="nested", seeds=(4, 5), epochs=7, lr=0.003)


def r2(model, data) -> float:
    sst = np.square(data.activity - data.activity.mean(axis=0)).sum()
    return max(1 - np.square(data.activity - b.values).sum() / sst for b in model.reconstruct(model.transform(data)))


def test_random_encoder_is_the_untrained_model_with_calibrated_sparsity(planted, monitor) -> None:
    data, _, _ = planted
    model = RandomEncoder(RandomEncoderConfig(levels={6: 1.0, 20: 3.0}, seeds=(0, 1)))
    report = model.fit(data, validation=None, monitor=monitor)
    values = model._require_fitted().parameters
    np.testing.assert_array_equal(values.encoder.numpy(), values.decoder.numpy().transpose(0, 2, 1))
    np.testing.assert_array_equal(values.decoder_bias[1].numpy(), values.input_mean.numpy())
    for level, k in enumerate((1.0, 3.0)):
        assert abs(model.transform(data).main.csc(0, level=level).nnz / data.n_bins - k) < 0.1
    assert any("Nothing was trained" in note for note in report.notes)


def test_training_beats_both_controls(planted, make_monitor) -> None:
    data, _, _ = planted
    trained = MatryoshkaSAE(MatryoshkaConfig(levels={8: 2.0}, epochs=40))
    random = RandomEncoder(RandomEncoderConfig(levels={8: 2.0}))
    shuffled = UnitShuffledSAE(UnitShuffledConfig(levels={8: 2.0}, epochs=40))
    for model in (trained, random, shuffled):
        model.fit(data, validation=None, monitor=make_monitor())
    assert r2(trained, data) > r2(shuffled, data) + 0.2
    assert r2(trained, data) > r2(random, data) + 0.2


def test_shifting_keeps_every_unit_and_undoes_their_correlations(planted) -> None:
    data, _, _ = planted
    shifted = shift_units(data, seed=3)
    for unit in range(data.n_units):
        before, after = data.activity[:, unit], shifted.activity[:, unit]
        shift = next(s for s in range(data.n_bins) if after[s] == before[0])
        np.testing.assert_array_equal(np.roll(before, shift), after)
    off_diagonal = ~np.eye(data.n_units, dtype=bool)
    assert np.abs(np.corrcoef(shifted.activity.T))[off_diagonal].max() < 0.1
    assert np.abs(np.corrcoef(data.activity.T))[off_diagonal].max() > 0.3
    np.testing.assert_array_equal(shift_units(data, seed=3).activity, shifted.activity)
    assert (shift_units(data, seed=4).activity != shifted.activity).any()


def test_every_instance_is_trained_on_shifts_of_its_own(planted, make_monitor) -> None:
    data = planted[0].rows(np.arange(3000) < 600)
    settings = {"epochs": 2, "level_weights": (1.0, (0.5, 2.0)), "lr": (0.01, 0.003)}
    both = UnitShuffledSAE(UnitShuffledConfig(levels={3: 1.0, 6: (1.0, 2.0)}, seeds=(3, 5), **settings))
    monitor = make_monitor()
    report = both.fit(data, validation=data, monitor=monitor)
    codes = both.transform(data).main
    for instance, (seed, k, weight, lr) in enumerate(((3, 1.0, 0.5, 0.01), (5, 2.0, 2.0, 0.003))):
        alone = MatryoshkaSAE(
            MatryoshkaConfig(levels={3: 1.0, 6: k}, seeds=(seed,), epochs=2, level_weights=(1.0, weight), lr=lr)
        )
        alone.fit(shift_units(data, seed=seed), validation=shift_units(data, seed=seed), monitor=make_monitor())
        np.testing.assert_array_equal(alone.transform(data).main.dense(), codes.dense(instance))
        np.testing.assert_array_equal(alone.dictionary().values[0], both.dictionary().values[instance])
    assert set(report.history["instance"]) == {0, 1}
    assert {instance for *_, instance in monitor.scalars} == {0, 1}
    assert monitor.reports[-1][0] == monitor.reports[-1][1]


def test_what_was_not_observed_moves_with_its_unit(planted, as_binned) -> None:
    observed = np.random.default_rng(0).random(planted[0].activity.shape) > 0.3
    shifted = shift_units(as_binned(observed.astype(float), observed=observed), seed=0)
    np.testing.assert_array_equal(shifted.activity > 0, shifted.observed)


def test_controls_copy_the_reference_and_keep_what_was_set() -> None:
    arguments = {"reference": REFERENCE, "n_latents": 9, "l0": 2.0, "n_units": 15}
    shuffled = UnitShuffledConfig().matched(**arguments)
    assert shuffled.model_dump() == REFERENCE.model_dump()
    random = RandomEncoderConfig(seeds=(8,)).matched(**arguments)
    assert (random.levels, random.selection, random.seeds) == (REFERENCE.levels, "nested", (8,))


def test_controls_of_a_model_without_levels_take_its_size_and_sparsity() -> None:
    arguments = {"reference": ModelConfig(seeds=(1, 2)), "n_latents": 12, "l0": 2.5, "n_units": 15}
    for control in (RandomEncoderConfig(), UnitShuffledConfig()):
        matched = control.matched(**arguments)
        assert matched.levels == {12: 2.5}
        assert matched.seeds == (1, 2)
    assert UnitShuffledConfig(levels={3: 1.0}).matched(**arguments).levels == {3: 1.0}
