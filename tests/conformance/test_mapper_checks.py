"""Each check of a mapper passes a correct one and fails one that is wrong in its way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from nldisco_example.mapper import Correlation, CorrelationConfig

from nldisco_core.binned import Binned
from nldisco_core.conformance import check_mapper
from nldisco_core.conformance.mappers import DEAD_LATENT, PLANTED_LATENT, planted
from nldisco_core.latents import Latents
from nldisco_core.mapping import MapperResult, mapping_table


class ChangedTable(Correlation):
    """A mapper whose table is changed on its way out."""

    def map(self, latents: Latents, data: Binned, *, seed: int) -> MapperResult:
        table = super().map(latents, data, seed=seed).table.copy()
        return MapperResult(table=self.changed(table, latents, data, seed))

    def changed(self, table: pd.DataFrame, latents: Latents, data: Binned, seed: int) -> pd.DataFrame:
        raise AssertionError("a subclass says how")


def changing(change: Callable[[pd.DataFrame], pd.DataFrame]) -> type[Correlation]:
    class Changed(ChangedTable):
        def changed(self, table: pd.DataFrame, latents: Latents, data: Binned, seed: int) -> pd.DataFrame:
            return change(table)

    return Changed


def as_if(column: str, value: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[table["latent"] == PLANTED_LATENT, column] = value
        return table

    return change


def dead_as(column: str, value: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[table["latent"] == DEAD_LATENT, column] = value
        return table

    return change


class NullOfShuffledBins(ChangedTable):
    """The classic mistake: bins permuted one by one, as if each were an independent observation."""

    def changed(self, table: pd.DataFrame, latents: Latents, data: Binned, seed: int) -> pd.DataFrame:
        n_independent = np.count_nonzero(data.covariate("ahead").defined)
        z = np.arctanh(table["correlation"].abs()) * np.sqrt(n_independent - 3)
        from scipy.stats import norm

        table["p"] = 2 * norm.sf(z)
        return table


class FindsNothing(ChangedTable):
    def changed(self, table: pd.DataFrame, latents: Latents, data: Binned, seed: int) -> pd.DataFrame:
        table["p"] = table["p"].where(table["p"].isna(), np.random.default_rng(seed).uniform(0.06, 1, len(table)))
        return table


class LooksAtTheFirstSession(ChangedTable):
    def changed(self, table: pd.DataFrame, latents: Latents, data: Binned, seed: int) -> pd.DataFrame:
        first = latents.main.dense()[: data.row_offsets[1]]
        table["coverage"] = (first > 0).mean(axis=0)
        return table.assign(coverage=table["coverage"].where(table["coverage"] > 0))


class DoubtsTheSecondOrder(ChangedTable):
    def changed(self, table: pd.DataFrame, latents: Latents, data: Binned, seed: int) -> pd.DataFrame:
        if data.sessions[0].session_id != "toy-1":
            table["p"] = (table["p"] + 0.5).where(table["p"] < 0.5, table["p"])
        return table


class DropsTheLastSession(Correlation):
    def map(self, latents: Latents, data: Binned, *, seed: int) -> MapperResult:
        result = super().map(latents, data, seed=seed)
        rows = result.table["latent"] != int(data.sessions[-1].session_id[-1])
        return replace(result, table=result.table[rows | (len(data.sessions) == 1)])


class Unseeded(Correlation):
    def map(self, latents: Latents, data: Binned, *, seed: int) -> MapperResult:
        return super().map(latents, data, seed=int(np.random.default_rng().integers(2**31)))


class NoP(Correlation):
    """Correct: it describes and does not test."""

    def map(self, latents: Latents, data: Binned, *, seed: int) -> MapperResult:
        table = super().map(latents, data, seed=seed).table.assign(p=np.nan, q=np.nan)
        return MapperResult(table=table)


class OfAllLatents(Correlation):
    """Correct: rows of all latents together, as a decoder gives them, with p times the number of latents."""

    def map(self, latents: Latents, data: Binned, *, seed: int) -> MapperResult:
        table = super().map(latents, data, seed=seed).table
        smallest = table.groupby("variable")["p"].agg(lambda p: min(1.0, p.min() * p.notna().sum())).reset_index()
        columns = {"instance": [0] * len(smallest), **smallest.to_dict("list"), "statistic": "smallest p, Bonferroni"}
        return MapperResult(table=mapping_table(columns))


class GivesATable(Correlation):
    def map(self, latents: Latents, data: Binned, *, seed: int) -> MapperResult:
        return super().map(latents, data, seed=seed).table  # type: ignore[return-value]


class GivesNothing(Correlation):
    def map(self, latents: Latents, data: Binned, *, seed: int) -> MapperResult:
        return MapperResult(table=mapping_table({}))


SCHEMA = "table_follows_the_schema"
WRONG: dict[str, tuple[type[Correlation], str, str]] = {
    "gives nothing": (GivesNothing, SCHEMA, "the table is empty"),
    "repeats rows": (changing(lambda table: pd.concat([table, table])), SCHEMA, "rows repeat"),
    "unknown variable": (changing(as_if("variable", "mood")), SCHEMA, "variables ['mood'] are not in the data"),
    "unknown latent": (changing(lambda t: t.assign(latent=(t["latent"] + 9))), SCHEMA, "column latent holds"),
    "sign of a whole code": (changing(as_if("sign", 1)), SCHEMA, "column sign holds [1]"),
    "share above one": (changing(as_if("coverage", 1.5)), SCHEMA, "coverage runs from 1.5 to 1.5"),
    "p of nothing": (changing(as_if("statistic", pd.NA)), SCHEMA, "p values do not say of what"),
    "finds nothing": (FindsNothing, "planted_feature_is_found", "'ahead' drives the latent, yet p is"),
    "shuffled bins": (NullOfShuffledBins, "shuffled_labels_are_not_found", "unrelated variables have p <= 0.05 in"),
    "dead p": (changing(dead_as("p", 1.0)), "dead_latent_scores_nan", "p of a dead latent is [1.0]"),
    "dead auroc": (changing(dead_as("auroc", 0.0)), "dead_latent_scores_nan", "auroc of a dead latent is [0.0]"),
    "first session": (LooksAtTheFirstSession, "order_of_sessions_is_irrelevant", "coverage depends on the order"),
    "p of one order": (DoubtsTheSecondOrder, "order_of_sessions_is_irrelevant", "p depend on the order of the"),
    "drops latents": (DropsTheLastSession, "order_of_sessions_is_irrelevant", "rows in one order of sessions"),
    "unseeded": (Unseeded, "same_seed_gives_the_same_table", "draw only from numpy.random.default_rng(seed)"),
}


def outcomes(mapper: type[Correlation]) -> dict[str, tuple[str, str]]:
    results = check_mapper(lambda _: mapper(CorrelationConfig(n_draws=99)))
    return {result.name: (result.status, result.reason) for result in results}


@pytest.mark.parametrize("mapper", [Correlation, OfAllLatents])
def test_a_correct_mapper_passes(mapper: type[Correlation]) -> None:
    assert {status for status, _ in outcomes(mapper).values()} == {"passed"}


def test_a_mapper_that_describes_without_testing_is_not_asked_for_p() -> None:
    found = outcomes(NoP)
    skipped = {name for name, (status, _) in found.items() if status == "skipped"}
    assert skipped == {"planted_feature_is_found", "shuffled_labels_are_not_found"}
    assert {status for status, _ in found.values()} == {"passed", "skipped"}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_mapper_fails_its_check(name: str) -> None:
    mapper, check, reason = WRONG[name]
    found = {key: why for key, (status, why) in outcomes(mapper).items() if status == "failed"}
    assert reason in found[check]
    assert set(found) == {check}


def test_a_mapper_that_gives_no_result_is_told_so() -> None:
    status, reason = outcomes(GivesATable)[SCHEMA]
    assert (status, reason) == ("failed", "map gave DataFrame; return a MapperResult")


def test_planted_variables_follow_the_planted_latent_and_shuffled_ones_do_not() -> None:
    latents, data = planted()
    active = latents.main.dense()[:, PLANTED_LATENT] > 0
    ahead = data.covariate("ahead").values[:, 0]
    assert np.nanmean(ahead[active]) > 0.8
    assert latents.main.dense()[:, DEAD_LATENT].max() == 0
    facing = data.covariate("facing")
    assert facing.categories is not None
    assert facing.categories[int(np.nanmedian(facing.values[active, 0]))] == "front"
    _, apart = planted(behaviour_seed=1000)
    assert abs(np.nanmean(apart.covariate("ahead").values[active, 0])) < 0.4
    assert np.array_equal(apart.activity, data.activity)
