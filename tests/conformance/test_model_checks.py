"""Each check of a latent model passes a correct one and fails one that is wrong in its way."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import pytest
from nldisco_example.model import RandomProjection, RandomProjectionConfig
from numpy.typing import NDArray

from nldisco_core.binned import Binned
from nldisco_core.config import parse
from nldisco_core.conformance import check_model
from nldisco_core.conformance.checks import run_checks
from nldisco_core.conformance.models import (
    MODEL_CHECKS,
    check_one_unit_one_latent_one_instance_work,
    check_save_and_load_in_a_fresh_process,
)
from nldisco_core.conformance.toy_fits import toy_data_for
from nldisco_core.errors import IncompatibleData
from nldisco_core.interfaces import Attribution, Dictionary, FitReport, Monitor, ReconstructionBlock, Requirements
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.plugins import discover


class RightModel(RandomProjection):
    """The example's model, which can also reconstruct, in two blocks per instance, and attribute."""

    def reconstruct(self, latents: Latents) -> Iterator[ReconstructionBlock]:
        space = latents.main
        for instance in range(space.n_instances):
            values = (space.dense(instance) @ self._fitted()[instance].T).astype(np.float32)
            for rows in (slice(0, 100), slice(100, space.n_rows)):
                yield ReconstructionBlock(instance=instance, level=0, rows=rows, values=values[rows])

    def attribution(self, latents: Latents, data: Binned, *, rows: NDArray[np.bool_] | None = None) -> Attribution:
        counted = np.ones(data.n_bins, dtype=bool) if rows is None else rows
        active = np.stack([latents.main.dense(i) != 0 for i in range(latents.main.n_instances)]) & counted[:, None]
        n_examples = active.sum(axis=1)
        mean = np.einsum("itl,tu->ilu", active, data.activity) / np.where(n_examples, n_examples, np.nan)[..., None]
        values = mean * self._fitted().transpose(0, 2, 1)
        return Attribution(values=values[..., None], n_examples=n_examples, unit_ids=tuple(data.units["id"]))


class ChangedCodes(RightModel):
    """A model whose activations are changed on their way out."""

    def transform(self, data: Binned) -> Latents:
        space = super().transform(data).main
        return Latents.of(replace(space, codes=self.changed(np.asarray(space.codes), data)))

    def changed(self, codes: NDArray[Any], data: Binned) -> NDArray[Any]:
        raise AssertionError("a subclass says how")


class ByTrial(RightModel):
    """A correct model of trials: one row per trial, the mean of its bins."""

    requirements: ClassVar[Requirements] = Requirements(example="trial", sessions="one")
    reconstruct = None  # type: ignore[assignment]  # rows are trials, which this model does not turn back into bins
    attribution = None  # type: ignore[assignment]  # nor follows into bins

    def transform(self, data: Binned) -> Latents:
        bins = np.asarray(super().transform(data).main.codes)
        codes = np.stack([bins[:, rows].mean(axis=1) for _, _, rows in data.by_trial()], axis=1)
        return Latents.of(
            LatentSpace(
                codes=codes,
                session_ids=(data.sessions[0].session_id,),
                row_offsets=np.array([0, codes.shape[1]]),
                row_kind="trial",
            )
        )


class Windows(ChangedCodes):
    """A correct model of windows: the mean of three bins of one trial; rows without three bins are not defined."""

    requirements: ClassVar[Requirements] = Requirements(example="window", activity=frozenset({"rate"}))

    def transform(self, data: Binned) -> Latents:
        latents = super().transform(data)
        defined = np.zeros(data.n_bins, dtype=bool)
        defined[data.window_starts(3)] = True
        return Latents.of(replace(latents.main, defined=defined))

    def changed(self, codes: NDArray[Any], data: Binned) -> NDArray[Any]:
        means = np.full_like(codes, np.nan)
        for start in data.window_starts(3):
            means[:, start] = codes[:, start : start + 3].mean(axis=1)
        return means

    def reconstruct(self, latents: Latents) -> Iterator[ReconstructionBlock]:
        space = latents.main
        assert space.defined is not None
        for instance in range(space.n_instances):
            values = np.nan_to_num(space.dense(instance) @ self._fitted()[instance].T).astype(np.float32)
            yield ReconstructionBlock(
                instance=instance,
                level=0,
                rows=slice(None),
                lags_s=(0.0, 0.05),
                values=np.stack([values, values], axis=1),
            )


class NoRequirements(RightModel):
    requirements = None  # type: ignore[assignment]


class SessionsTurnedRound(RightModel):
    def transform(self, data: Binned) -> Latents:
        space = super().transform(data).main
        return Latents.of(replace(space, session_ids=space.session_ids[::-1]))


class LosesTheLastBin(RightModel):
    def transform(self, data: Binned) -> Latents:
        space = super().transform(data).main
        return Latents.of(space.rows(np.arange(space.n_rows) < max(space.n_rows - 1, 1)))


class NoReport(RightModel):
    def fit(self, train: Binned, *, validation: Binned | None, monitor: Monitor) -> FitReport:
        return replace(super().fit(train, validation=validation, monitor=monitor), history=pd.DataFrame())


class NotFinite(ChangedCodes):
    def changed(self, codes: NDArray[Any], data: Binned) -> NDArray[Any]:
        return np.where(codes > 4, np.inf, codes)


class BelowZero(ChangedCodes):
    def changed(self, codes: NDArray[Any], data: Binned) -> NDArray[Any]:
        return codes - 1


class Unseeded(RightModel):
    def fit(self, train: Binned, *, validation: Binned | None, monitor: Monitor) -> FitReport:
        report = super().fit(train, validation=validation, monitor=monitor)
        self._weights = np.random.default_rng().standard_normal(self._fitted().shape, dtype=np.float32)
        return report


class OneInstance(RightModel):
    def __init__(self, config: RandomProjectionConfig) -> None:
        super().__init__(config.model_copy(update={"seeds": config.seeds[:1]}))


class WritesIntoTheUnitTable(RightModel):
    def fit(self, train: Binned, *, validation: Binned | None, monitor: Monitor) -> FitReport:
        return super().fit(train, validation=validation, monitor=monitor)

    def transform(self, data: Binned) -> Latents:
        for session in data.sessions:
            session.units["seen"] = True
        return super().transform(data)


class WritesIntoTheActivity(RightModel):
    def transform(self, data: Binned) -> Latents:
        for session in data.sessions:
            base = session.activity.base
            assert base is not None
            base[base == 0] = 1
        return super().transform(data)


class StandardisesOverTheBatch(ChangedCodes):
    def changed(self, codes: NDArray[Any], data: Binned) -> NDArray[Any]:
        return codes / (1 + codes.std(axis=1, keepdims=True))


class BatchTopK(ChangedCodes):
    def changed(self, codes: NDArray[Any], data: Binned) -> NDArray[Any]:
        return np.where(codes >= np.quantile(codes, 0.9, axis=(1, 2), keepdims=True), codes, 0)


class SmoothsAcrossTrials(Windows):
    def changed(self, codes: NDArray[Any], data: Binned) -> NDArray[Any]:
        return (codes + np.roll(codes, 1, axis=1)) / 2


class Pickles(RightModel):
    def save(self, folder: Path) -> None:
        super().save(folder)
        (folder / "weights.pkl").write_bytes(pickle.dumps(self._weights))


class NoConfigFile(RightModel):
    def save(self, folder: Path) -> None:
        super().save(folder)
        (folder / "config.json").unlink()


class ConfigIsNotJson(RightModel):
    def save(self, folder: Path) -> None:
        super().save(folder)
        (folder / "config.json").write_text("seeds = [0]", encoding="utf-8")


class ForgetsItsWeights(RightModel):
    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        model._weights = model._fitted() * 2
        return model


class CannotLoad(RightModel):
    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls(parse(RandomProjectionConfig, {"n_latent": 8}, where="saved model"))


class TakesFewerUnits(RightModel):
    def transform(self, data: Binned) -> Latents:
        known, self._unit_ids = self._unit_ids, tuple(data.units["id"])
        weights, self._weights = self._fitted(), self._fitted()[:, : data.n_units]
        try:
            return super().transform(data)
        finally:
            self._unit_ids, self._weights = known, weights


class TakesUnitsInAnyOrder(RightModel):
    def transform(self, data: Binned) -> Latents:
        self._fitted()
        if set(data.units["id"]) != set(self._unit_ids):
            raise IncompatibleData("other units")
        known, self._unit_ids = self._unit_ids, tuple(data.units["id"])
        try:
            return super().transform(data)
        finally:
            self._unit_ids = known


class OtherErrorForOtherUnits(RightModel):
    def transform(self, data: Binned) -> Latents:
        self._fitted()
        if data.n_units != len(self._unit_ids):
            raise ValueError("shapes do not match")
        return super().transform(data)


class WorksUnfitted(RightModel):
    def transform(self, data: Binned) -> Latents:
        if self._weights is None:
            self._unit_ids = tuple(data.units["id"])
            self._weights = np.ones((len(self.config.seeds), data.n_units, self.config.n_latents), dtype=np.float32)
        return super().transform(data)


class DividesByTheSpread(RightModel):
    def fit(self, train: Binned, *, validation: Binned | None, monitor: Monitor) -> FitReport:
        report = super().fit(train, validation=validation, monitor=monitor)
        with np.errstate(divide="ignore"):
            self._weights = self._fitted() / np.std(train.activity, axis=0, dtype=np.float32)[:, None]
        return report

    def transform(self, data: Binned) -> Latents:
        with np.errstate(invalid="ignore"):
            return super().transform(data)


class NeedsTwoUnits(RightModel):
    def fit(self, train: Binned, *, validation: Binned | None, monitor: Monitor) -> FitReport:
        np.linalg.eigh(np.cov(train.activity.T))
        return super().fit(train, validation=validation, monitor=monitor)


class RefusesOneUnit(RightModel):
    """Correct, but its settings ask for more than one unit holds, and it says so."""

    def fit(self, train: Binned, *, validation: Binned | None, monitor: Monitor) -> FitReport:
        if train.n_units < self.config.n_latents / 2:
            raise IncompatibleData(f"{self.config.n_latents} latents of {train.n_units} units")
        return super().fit(train, validation=validation, monitor=monitor)


class ReconstructsTwice(RightModel):
    def reconstruct(self, latents: Latents) -> Iterator[ReconstructionBlock]:
        yield from super().reconstruct(latents)
        yield next(super().reconstruct(latents))


class ReconstructsTheStart(RightModel):
    def reconstruct(self, latents: Latents) -> Iterator[ReconstructionBlock]:
        return (block for block in super().reconstruct(latents) if block.rows.start == 0)


class ReconstructsTurned(RightModel):
    def reconstruct(self, latents: Latents) -> Iterator[ReconstructionBlock]:
        return (replace(block, values=block.values.T) for block in super().reconstruct(latents))


class ReconstructsNaN(RightModel):
    def reconstruct(self, latents: Latents) -> Iterator[ReconstructionBlock]:
        return (replace(block, values=block.values * np.nan) for block in super().reconstruct(latents))


class ReconstructsAnUnknownLevel(RightModel):
    def reconstruct(self, latents: Latents) -> Iterator[ReconstructionBlock]:
        return (replace(block, level=1) for block in super().reconstruct(latents))


class TurnedDictionary(RightModel):
    def dictionary(self) -> Dictionary:
        return replace(super().dictionary(), values=self._fitted())


class UndefinedDictionary(RightModel):
    def dictionary(self) -> Dictionary:
        return replace(super().dictionary(), values=super().dictionary().values * np.nan)


class DictionaryOfOtherUnits(RightModel):
    def dictionary(self) -> Dictionary:
        return replace(super().dictionary(), unit_ids=(tuple("abcdef"),))


class AttributesLagsTurned(RightModel):
    def attribution(self, latents: Latents, data: Binned, *, rows: NDArray[np.bool_] | None = None) -> Attribution:
        return replace(super().attribution(latents, data, rows=rows), lags_s=(0.05,))


class AttributesAllRows(RightModel):
    def attribution(self, latents: Latents, data: Binned, *, rows: NDArray[np.bool_] | None = None) -> Attribution:
        zeros = np.zeros((latents.main.n_instances, latents.main.n_latents), dtype=np.int64)
        return replace(super().attribution(latents, data), n_examples=zeros)


class AttributesOtherUnits(RightModel):
    def attribution(self, latents: Latents, data: Binned, *, rows: NDArray[np.bool_] | None = None) -> Attribution:
        return replace(super().attribution(latents, data, rows=rows), unit_ids=tuple("abcdef"))


class AttributesWithoutLags(RightModel):
    def attribution(self, latents: Latents, data: Binned, *, rows: NDArray[np.bool_] | None = None) -> Attribution:
        found = super().attribution(latents, data, rows=rows)
        return replace(found, values=found.values[..., 0])


class AttributesNaN(RightModel):
    def attribution(self, latents: Latents, data: Binned, *, rows: NDArray[np.bool_] | None = None) -> Attribution:
        found = super().attribution(latents, data, rows=rows)
        return replace(found, values=found.values * np.nan)


ONE_OFF = """
from nldisco_core.hookspecs import hookimpl
from nldisco_core.providers import Provider
from nldisco_example.model import RandomProjection, RandomProjectionConfig

class OneOff(RandomProjection):
    pass

@hookimpl
def nldisco_latent_models():
    name = "one_off_model"
    yield Provider(name="one-off", target=f"{name}:OneOff", config=f"{name}:RandomProjectionConfig", summary="")
"""
WRONG = {
    SessionsTurnedRound: ("latents_have_the_rows_of_the_data", "sessions ('toy-2', 'toy-1')"),
    LosesTheLastBin: ("latents_have_the_rows_of_the_data", "[900, 899] rows by session; expected [900, 900]"),
    NoReport: ("latents_have_the_rows_of_the_data", "the history lacks step, instance, name, value"),
    NotFinite: ("latents_are_finite", "activations are not finite"),
    BelowZero: ("latents_are_finite", "a nonnegative code goes down to -1"),
    Unseeded: ("same_seed_gives_the_same_latents", "a second fit with the same seed"),
    OneInstance: ("seeds_make_instances", "seeds [0, 1] made 1 instances"),
    WritesIntoTheUnitTable: ("input_is_left_unchanged", "units of the input was changed"),
    WritesIntoTheActivity: ("input_is_left_unchanged", "activity of the input was changed"),
    StandardisesOverTheBatch: ("examples_do_not_depend_on_each_other", "activations move by up to"),
    BatchTopK: ("examples_do_not_depend_on_each_other", "activations appear or vanish"),
    SmoothsAcrossTrials: ("examples_do_not_depend_on_each_other", "30 of 60 examples transformed apart"),
    Pickles: ("save_and_load_in_a_fresh_process", "save wrote weights.pkl"),
    NoConfigFile: ("save_and_load_in_a_fresh_process", "config.json is missing"),
    ConfigIsNotJson: ("save_and_load_in_a_fresh_process", "config.json is not JSON"),
    ForgetsItsWeights: ("save_and_load_in_a_fresh_process", "loaded in a fresh process: space 'latents', instance 0"),
    CannotLoad: ("save_and_load_in_a_fresh_process", "unknown key 'n_latent'; did you mean 'n_latents'"),
    TakesFewerUnits: ("other_units_are_refused", "transforming fewer units than were fitted on went through"),
    TakesUnitsInAnyOrder: ("other_units_are_refused", "transforming units in another order went through"),
    OtherErrorForOtherUnits: ("other_units_are_refused", "raised ValueError: shapes do not match"),
    WorksUnfitted: ("transform_before_fit_is_refused", "transform before fit went through"),
    DividesByTheSpread: ("silent_unit_and_empty_trial_do_not_crash", "activations are not finite"),
    NeedsTwoUnits: ("one_unit_one_latent_one_instance_work", "raised LinAlgError"),
    ReconstructsTwice: ("reconstruction_covers_every_row_once", "cover 100 more than once"),
    ReconstructsTheStart: ("reconstruction_covers_every_row_once", "leave out 3400 rows"),
    ReconstructsTurned: ("reconstruction_covers_every_row_once", "a block is (6, 100); expected (100, 6)"),
    ReconstructsNaN: ("reconstruction_covers_every_row_once", "a block holds NaN"),
    ReconstructsAnUnknownLevel: ("reconstruction_covers_every_row_once", "a block speaks of instance 0, level 1"),
    TurnedDictionary: ("dictionary_points_at_the_units", "the dictionary is (2, 6, 8); expected (2, 8, 6)"),
    UndefinedDictionary: ("dictionary_points_at_the_units", "the dictionary holds NaN"),
    DictionaryOfOtherUnits: ("dictionary_points_at_the_units", "the dictionary names units"),
    AttributesLagsTurned: ("attribution_speaks_of_active_examples", "expected ascending times up to 0"),
    AttributesAllRows: ("attribution_speaks_of_active_examples", "n_examples is 0 for active latents"),
    AttributesOtherUnits: ("attribution_speaks_of_active_examples", "the attribution names unit"),
    AttributesWithoutLags: ("attribution_speaks_of_active_examples", "the attribution is (2, 8, 6)"),
    AttributesNaN: ("attribution_speaks_of_active_examples", "not finite for active latents"),
}
SOUND = {"silent_unit_and_empty_trial_do_not_crash", "one_unit_one_latent_one_instance_work"}
ALSO = {
    NotFinite: SOUND
    | {  # infinity compares as equal to nothing, and reconstructs to nothing
        "same_seed_gives_the_same_latents",
        "examples_do_not_depend_on_each_other",
        "reconstruction_covers_every_row_once",
    },
    BelowZero: SOUND,
    LosesTheLastBin: {
        "examples_do_not_depend_on_each_other",
        "reconstruction_covers_every_row_once",
        "attribution_speaks_of_active_examples",
    },
}


def make(model: type[RandomProjection]) -> Any:
    return lambda settings: model(parse(RandomProjectionConfig, settings))


def outcomes(model: type[RandomProjection], *, also_saved: bool = False) -> dict[str, tuple[str, str]]:
    """Outcome and reason by check; the fresh process takes seconds and is left out unless it is the point."""
    checks = [check for check in MODEL_CHECKS if also_saved or check is not check_save_and_load_in_a_fresh_process]
    return {result.name: (result.status, result.reason) for result in run_checks(checks, make(model))}


def test_a_correct_model_passes_every_check() -> None:
    assert {result.status for result in check_model(make(RightModel))} == {"passed"}


@pytest.mark.parametrize("model", [RandomProjection, ByTrial, Windows])
def test_a_correct_model_of_bins_trials_or_windows_passes(model: type[RandomProjection]) -> None:
    assert "failed" not in {status for status, _ in outcomes(model).values()}


@pytest.mark.parametrize("model", WRONG)
def test_a_wrong_model_fails_its_check(model: type[RandomProjection]) -> None:
    check, reason = WRONG[model]
    found = {
        name: why for name, (status, why) in outcomes(model, also_saved="save" in check).items() if status == "failed"
    }
    assert reason in found[check]
    assert set(found) == {check} | ALSO.get(model, set())


def test_a_model_of_a_one_off_file_is_loaded_from_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "one_off_model.py"
    path.write_text(ONE_OFF, encoding="utf-8")
    monkeypatch.setitem(sys.modules, path.stem, None)  # forgotten again when the test ends
    monkeypatch.delitem(sys.modules, path.stem)
    listed = discover(only=(), files=[path]).listed("model", "one-off")
    check_save_and_load_in_a_fresh_process(lambda settings: listed.make(settings))


def test_a_model_that_declares_nothing_is_told_so() -> None:
    status, reason = outcomes(NoRequirements)["requirements_are_declared"]
    assert (status, "declare Requirements on the class" in reason) == ("failed", True)


def test_capabilities_that_a_model_lacks_are_skipped() -> None:
    found = outcomes(RandomProjection)
    assert found["reconstruction_covers_every_row_once"] == ("skipped", "the model does not reconstruct")
    assert found["dictionary_points_at_the_units"] == ("passed", "")


def test_a_model_may_declare_itself_random_or_free_of_units() -> None:
    class Free(Unseeded):
        requirements: ClassVar[Requirements] = Requirements(deterministic=False, sessions="any units")

    found = outcomes(Free)
    assert found["same_seed_gives_the_same_latents"][0] == "skipped"
    assert found["other_units_are_refused"] == ("skipped", "the model takes any units")


def test_one_unit_may_be_refused_in_so_many_words_until_one_latent_is_asked_for() -> None:
    status, reason = outcomes(RefusesOneUnit)["one_unit_one_latent_one_instance_work"]
    assert (status, "8 latents of 1 units" in reason) == ("skipped", True)
    check_one_unit_one_latent_one_instance_work(
        lambda settings: RefusesOneUnit(parse(RandomProjectionConfig, {"n_latents": 1, **settings}))
    )


def test_toy_data_are_of_a_kind_the_model_takes() -> None:
    assert toy_data_for(Requirements(sessions="one")).activity_kind == "counts"
    assert len(toy_data_for(Requirements(sessions="one")).sessions) == 1
    rate = toy_data_for(Requirements(activity=frozenset({"rate", "continuous"})))
    assert (rate.activity_kind, rate.activity.dtype, len(rate.sessions)) == ("rate", np.float32, 2)
    assert toy_data_for(Requirements(activity=frozenset({"continuous"}))).activity_kind == "continuous"
