"""Checks that any latent model must pass; each takes a function that makes the model from settings."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from nldisco_core.binned import BinnedSession
from nldisco_core.conformance.activations import expect_same, expect_sound
from nldisco_core.conformance.checks import CheckResult, ConformanceFailure, Make, NotApplicable, expect, run_checks
from nldisco_core.conformance.saved_models import expect_no_pickle, load_elsewhere
from nldisco_core.conformance.toy_fits import fit, row_counts, row_mask, toy_data_for, transformed, with_silence
from nldisco_core.errors import IncompatibleData, NotFitted
from nldisco_core.interfaces import Attributes, FitReport, HasDictionary, LatentModel, Reconstructs, Requirements
from nldisco_core.latents import Latents

__all__ = [
    "MODEL_CHECKS",
    "check_attribution_speaks_of_active_examples",
    "check_dictionary_points_at_the_units",
    "check_examples_do_not_depend_on_each_other",
    "check_input_is_left_unchanged",
    "check_latents_are_finite",
    "check_latents_have_the_rows_of_the_data",
    "check_model",
    "check_one_unit_one_latent_one_instance_work",
    "check_other_units_are_refused",
    "check_reconstruction_covers_every_row_once",
    "check_requirements_are_declared",
    "check_same_seed_gives_the_same_latents",
    "check_save_and_load_in_a_fresh_process",
    "check_seeds_make_instances",
    "check_silent_unit_and_empty_trial_do_not_crash",
    "check_transform_before_fit_is_refused",
]


def check_model(
    make: Make[LatentModel], *, expected_failures: Mapping[str, str] | None = None
) -> tuple[CheckResult, ...]:
    """Run every check of this module.

    Parameters
    ----------
    make : the model from settings, which are added to the caller's own; the checks vary ``seeds`` alone
    expected_failures : reason by name of a check that is known to fail
    """
    return run_checks(MODEL_CHECKS, make, expected_failures=expected_failures)


def check_requirements_are_declared(make: Make[LatentModel]) -> None:
    """The class states its `Requirements` and has every method of the interface."""
    model = make({})
    name = type(model).__name__
    declared = getattr(type(model), "requirements", None)
    expect(
        isinstance(declared, Requirements), f"{name}.requirements is {declared!r}; declare Requirements on the class"
    )
    expect(isinstance(model, LatentModel), f"{name} lacks fit, transform, save or load; see interfaces.LatentModel")


def check_latents_have_the_rows_of_the_data(make: Make[LatentModel]) -> None:
    """Every space has one row per bin (or trial), in the sessions and order of the data, and the fit is reported."""
    model = make({})
    data = toy_data_for(model.requirements)
    report = fit(model, data)
    expect(isinstance(report, FitReport), f"fit gave {type(report).__name__}; return a FitReport")
    lacking = [column for column in ("step", "instance", "name", "value") if column not in report.history.columns]
    expect(not lacking, f"the history lacks {', '.join(lacking)}; expected columns step, instance, name, value")
    session_ids = tuple(session.session_id for session in data.sessions)
    for name, space in model.transform(data).spaces.items():
        expected = row_counts(data, space.row_kind)
        found = np.diff(space.row_offsets).tolist()
        expect(
            found == expected, f"space {name!r}: {found} rows by session; expected {expected}, one per {space.row_kind}"
        )
        expect(
            space.session_ids == session_ids, f"space {name!r}: sessions {space.session_ids}; expected {session_ids}"
        )
        expect(space.row_offsets[0] == 0, f"space {name!r}: rows start at {space.row_offsets[0]}; expected 0")


def check_latents_are_finite(make: Make[LatentModel]) -> None:
    """No activation of a defined row is NaN or infinite, and none of a nonnegative code is below zero."""
    expect_sound(transformed(make({})))


def check_same_seed_gives_the_same_latents(make: Make[LatentModel]) -> None:
    """Two models made alike and fitted on the same data give equal activations, bit for bit."""
    if not make({}).requirements.deterministic:
        raise NotApplicable("the model declares itself not deterministic")
    expect_same(transformed(make({})), transformed(make({})), "a second fit with the same seed", exact=True)


def check_seeds_make_instances(make: Make[LatentModel]) -> None:
    """One seed makes one instance, two seeds make two."""
    for seeds in ([0], [0, 1]):
        found = transformed(make({"seeds": seeds})).main.n_instances
        expect(found == len(seeds), f"seeds {seeds} made {found} instances; expected one per seed")


def check_input_is_left_unchanged(make: Make[LatentModel]) -> None:
    """Fitting and transforming change neither activity, behaviour, trials nor the unit table."""
    model = make({})
    data, untouched = toy_data_for(model.requirements), toy_data_for(model.requirements)
    fit(model, data)
    model.transform(data)
    for found, expected in zip(data.sessions, untouched.sessions, strict=True):
        for name, values in _contents(expected).items():
            expect(values.equals(_contents(found)[name]), f"{name} of the input was changed; work on a copy")


def _contents(session: BinnedSession) -> dict[str, pd.DataFrame]:
    tables = {"units": session.units, "activity": pd.DataFrame(session.activity)}
    if session.trials is not None:
        tables["trials"] = session.trials.frame
    return tables | {name: pd.DataFrame(item.values) for name, item in session.covariates.items()}


def check_examples_do_not_depend_on_each_other(make: Make[LatentModel]) -> None:
    """A row's activations are the same alone, among a random half and among all rows.

    Whole trials are chosen for models of windows or trials, single bins for the others. Which activations are non-zero
    must agree exactly, their values to 1e-5 relative (sums may be taken in another order).
    """
    model = make({})
    data = toy_data_for(model.requirements)
    fit(model, data)
    whole = model.transform(data)
    example = np.arange(data.n_bins) if model.requirements.example == "bin" else data.segments
    order = np.random.default_rng(0).permutation(example.max() + 1)
    for chosen in (order[: len(order) // 2], order[:1]):
        mask = np.isin(example, chosen)
        expected = {name: space.rows(row_mask(data, space, mask)) for name, space in whole.spaces.items()}
        found = model.transform(data.rows(mask))
        expect_same(found, Latents(expected), f"{len(chosen)} of {len(order)} examples transformed apart")


def check_save_and_load_in_a_fresh_process(make: Make[LatentModel]) -> None:
    """The folder holds ``config.json`` and safetensors only, and another process computes the same latents from it."""
    model = make({})
    expected = transformed(model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.save(folder)
        expect_no_pickle(folder)
        found = load_elsewhere(type(model), folder)
    loaded = Latents.of(replace(expected.main, codes=found, level_masks=None))
    expect_same(loaded, Latents.of(expected.main), "loaded in a fresh process")


def check_other_units_are_refused(make: Make[LatentModel]) -> None:
    """Fewer units than the model was fitted on, or others under the same columns, raise `IncompatibleData`."""
    model = make({})
    if model.requirements.sessions == "any units":
        raise NotApplicable("the model takes any units")
    data = toy_data_for(model.requirements)
    fit(model, data)
    fewer = toy_data_for(model.requirements, n_units=data.n_units - 1)
    backwards = tuple(replace(session, units=session.units.iloc[::-1]) for session in data.sessions)
    swapped = replace(data, sessions=backwards)
    _expect_raises(IncompatibleData, lambda: model.transform(fewer), "transforming fewer units than were fitted on")
    _expect_raises(IncompatibleData, lambda: model.transform(swapped), "transforming units in another order")


def check_transform_before_fit_is_refused(make: Make[LatentModel]) -> None:
    """`transform` raises `NotFitted` before `fit`."""
    model = make({})
    data = toy_data_for(model.requirements)
    _expect_raises(NotFitted, lambda: model.transform(data), "transform before fit")


def _expect_raises(expected: type[Exception], act: Callable[[], object], what: str) -> None:
    try:
        act()
    except expected:
        return
    except Exception as error:
        raise ConformanceFailure(f"{what} raised {type(error).__name__}: {error}; raise {expected.__name__}") from error
    raise ConformanceFailure(f"{what} went through; raise {expected.__name__}")


def check_silent_unit_and_empty_trial_do_not_crash(make: Make[LatentModel]) -> None:
    """A unit without a spike, a trial without a spike and a trial without a bin leave all activations finite."""
    model = make({})
    expect_sound(transformed(model, with_silence(toy_data_for(model.requirements))))


def check_one_unit_one_latent_one_instance_work(make: Make[LatentModel]) -> None:
    """The smallest data and one seed give sound latents; settings that ask for more may be refused in so many words."""
    model = make({"seeds": [0]})
    try:
        latents = transformed(model, toy_data_for(model.requirements, n_units=1))
    except IncompatibleData as refusal:
        raise NotApplicable(f"one unit is refused with these settings ({refusal}); check with one latent") from refusal
    expect_sound(latents)


def check_reconstruction_covers_every_row_once(make: Make[LatentModel]) -> None:
    """Blocks have the shape they state, are finite, and cover every instance, level and defined row exactly once."""
    model = make({"seeds": [0, 1]})
    if not isinstance(model, Reconstructs):
        raise NotApplicable("the model does not reconstruct")
    data = toy_data_for(model.requirements)
    fit(model, data)
    space = model.transform(data).main
    covered = np.zeros((space.n_instances, space.n_levels, data.n_bins), dtype=int)
    for block in model.reconstruct(Latents.of(space)):
        part = block.values
        known = block.instance in range(space.n_instances) and block.level in range(space.n_levels)
        expect(known, f"a block speaks of instance {block.instance}, level {block.level}; expected {covered.shape[:2]}")
        lags = (len(block.lags_s),) if part.ndim == 3 else ()
        expected = (len(range(data.n_bins)[block.rows]), *lags, data.n_units)
        expect(part.shape == expected, f"a block is {part.shape}; expected {expected}: rows[, lags], units")
        expect(np.isfinite(part).all(), "a block holds NaN or infinity; expected finite values")
        covered[block.instance, block.level, block.rows] += 1
    defined = slice(None) if space.defined is None else space.defined
    missed, twice = int((covered[..., defined] == 0).sum()), int((covered > 1).sum())
    expect(missed + twice == 0, f"blocks leave out {missed} rows and cover {twice} more than once; expected each once")


def check_dictionary_points_at_the_units(make: Make[LatentModel]) -> None:
    """The dictionary is finite, has the latents and units of the model, and names the units."""
    model = make({"seeds": [0, 1]})
    if not isinstance(model, HasDictionary):
        raise NotApplicable("the model has no dictionary")
    data = toy_data_for(model.requirements)
    fit(model, data)
    space, dictionary = model.transform(data).main, model.dictionary()
    weights = dictionary.values
    lags = (len(dictionary.lags_s),) if weights.ndim == 4 else ()
    shape = (space.n_instances, space.n_latents, len(dictionary.unit_ids[0]), *lags)
    expect(
        weights.shape == shape,
        f"the dictionary is {weights.shape}; expected {shape}: instances, latents, units[, lags]",
    )
    expect(np.isfinite(weights).all(), "the dictionary holds NaN or infinity; expected finite values")
    known = {tuple(session.units["id"]) for session in data.sessions}
    unknown = [ids for ids in dictionary.unit_ids if ids not in known]
    expect(not unknown, f"the dictionary names units {unknown[:1]}; expected those fitted on, {sorted(known)[:1]}")


def check_attribution_speaks_of_active_examples(make: Make[LatentModel]) -> None:
    """Attribution has units of the data and ascending lags up to 0; finite for active latents, NaN for silent ones."""
    model = make({"seeds": [0, 1]})
    if not isinstance(model, Attributes):
        raise NotApplicable("the model does not attribute its activations")
    data = toy_data_for(model.requirements)
    fit(model, data)
    latents = model.transform(data)
    space, rows = latents.main, np.arange(data.n_bins) < data.n_bins // 2
    found = model.attribution(latents, data, rows=rows)
    shape = (space.n_instances, space.n_latents, len(found.unit_ids), len(found.lags_s))
    expect(
        found.values.shape == shape,
        f"the attribution is {found.values.shape}; expected {shape}: instances, latents, units, lags",
    )
    unknown = sorted(set(found.unit_ids) - set(data.units["id"]))
    expect(not unknown, f"the attribution names unit {unknown[:1]}; expected units of the data")
    lags = list(found.lags_s)
    expect(lags == sorted(lags) and lags[-1] == 0, f"lags_s is {found.lags_s}; expected ascending times up to 0")
    active = np.stack([(space.dense(i)[rows] != 0).any(axis=0) for i in range(space.n_instances)])
    expect(((found.n_examples > 0) == active).all(), "n_examples is 0 for active latents, or more for silent ones")
    finite = np.isfinite(found.values).all(axis=(2, 3))
    expect((finite == active).all(), "the attribution is not finite for active latents, or not NaN for silent ones")


MODEL_CHECKS = (
    check_requirements_are_declared,
    check_latents_have_the_rows_of_the_data,
    check_latents_are_finite,
    check_same_seed_gives_the_same_latents,
    check_seeds_make_instances,
    check_input_is_left_unchanged,
    check_examples_do_not_depend_on_each_other,
    check_save_and_load_in_a_fresh_process,
    check_other_units_are_refused,
    check_transform_before_fit_is_refused,
    check_silent_unit_and_empty_trial_do_not_crash,
    check_one_unit_one_latent_one_instance_work,
    check_reconstruction_covers_every_row_once,
    check_dictionary_points_at_the_units,
    check_attribution_speaks_of_active_examples,
)
"""Every check of a latent model, in the order they are run."""
