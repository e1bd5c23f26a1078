"""Checks that any mapper must pass; each takes a function that makes the mapper from settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import special

from nldisco_core.binned import Binned, BinnedSession, Covariate
from nldisco_core.conformance.checks import CheckResult, Make, NotApplicable, expect, run_checks
from nldisco_core.conformance.toys import toy_binned, toy_latents
from nldisco_core.interfaces import Mapper
from nldisco_core.latents import Latents
from nldisco_core.mapping import MAPPING_COLUMNS, MapperResult

__all__ = [
    "MAPPER_CHECKS",
    "check_dead_latent_scores_nan",
    "check_mapper",
    "check_order_of_sessions_is_irrelevant",
    "check_planted_feature_is_found",
    "check_same_seed_gives_the_same_table",
    "check_shuffled_labels_are_not_found",
    "check_table_follows_the_schema",
    "planted",
]

N_UNITS = 4
PLANTED_LATENT = 0
DEAD_LATENT = N_UNITS
N_SHUFFLES = 20
_KEYS = ["instance", "latent", "sign", "variable", "condition", "split", "statistic"]
_SCORES = ["coverage", "specificity", "precision", "selectivity", "auroc", "cohens_d", "null_mean", "p", "q"]
_SHARES = ["coverage", "specificity", "precision", "selectivity", "auroc", "p", "q"]


def check_mapper(make: Make[Mapper], *, expected_failures: Mapping[str, str] | None = None) -> tuple[CheckResult, ...]:
    """Run every check of this module; `expected_failures` gives the reason by name of a check known to fail."""
    return run_checks(MAPPER_CHECKS, make, expected_failures=expected_failures)


def planted(
    *, seed: int = 0, n_sessions: int = 1, behaviour_seed: int | None = None, n_bins: int = 2400
) -> tuple[Latents, Binned]:
    """Latents tuned to a heading, the last one dead, and variables of every kind that follow the heading.

    Latent 0 prefers heading 0: it is active where the circular variable ``turn`` is near 0, the linear ``ahead`` (its
    cosine) is high, the discrete ``facing`` is ``front`` and the position ``spot`` lies at (1, 0). A trial's ``side``
    is unrelated.

    Parameters
    ----------
    behaviour_seed : take the variables from an independent animal, so that nothing relates to the latents
    """
    size = {"n_bins": n_bins, "n_units": N_UNITS, "n_sessions": n_sessions, "n_trials": n_bins // 30}
    data = toy_binned(seed=seed, **size)
    behaving = data if behaviour_seed is None else toy_binned(seed=behaviour_seed, **size)
    sessions = tuple(
        replace(session, covariates=_variables(other))
        for session, other in zip(data.sessions, behaving.sessions, strict=True)
    )
    chosen = replace(data, sessions=sessions)
    return toy_latents(chosen), chosen


def _variables(session: BinnedSession) -> dict[str, Covariate]:
    heading = session.covariates["heading"].values[:, 0]
    front = np.where(np.isnan(heading), np.nan, np.cos(heading) > 0)
    place = np.column_stack([np.cos(heading), np.sin(heading)])
    variables = (
        Covariate(name="turn", values=heading, kind="circular", period=2 * np.pi, physical_unit="rad"),
        Covariate(name="ahead", values=np.cos(heading), kind="linear"),
        Covariate(name="facing", values=front, kind="discrete", categories=("back", "front")),
        Covariate(name="spot", values=place, kind="position", channels=("x", "y")),
        session.covariates["side"],
    )
    return {variable.name: variable for variable in variables}


def check_table_follows_the_schema(make: Make[Mapper]) -> None:
    """Rows speak of latents and variables that exist, once each; shares and probabilities lie between 0 and 1."""
    mapper = make({})
    expect(isinstance(mapper, Mapper), f"{type(mapper).__name__} lacks map; see interfaces.Mapper")
    latents, data = planted()
    result = mapper.map(latents, data, seed=0)
    expect(isinstance(result, MapperResult), f"map gave {type(result).__name__}; return a MapperResult")
    table = result.table
    expect(len(table), "the table is empty; expected rows for latents that are active")
    for column, kind in MAPPING_COLUMNS.items():
        expect(str(table[column].dtype) == kind, f"column {column} is {table[column].dtype}; expected {kind}")
    expect(not table.duplicated(_KEYS).any(), f"{int(table.duplicated(_KEYS).sum())} rows repeat {', '.join(_KEYS)}")
    unknown = sorted(set(table["variable"].dropna()) - set(data.covariate_names))
    expect(not unknown, f"variables {unknown} are not in the data; name the variables of the data")
    known = {"instance": range(latents.main.n_instances), "latent": range(latents.main.n_latents), "sign": (0,)}
    for column, values in known.items():
        wrong = sorted(set(table[column].dropna()) - set(values))
        expect(not wrong, f"column {column} holds {wrong[:3]}; expected values of {list(values)}")
    for column in _SHARES:
        shares = table[column].dropna()
        expect(shares.between(0, 1).all(), f"{column} runs from {shares.min():g} to {shares.max():g}; expected 0 to 1")
    unsaid = table["p"].notna() & table["statistic"].isna()
    expect(not unsaid.any(), f"{int(unsaid.sum())} p values do not say of what; fill the column statistic")


def check_planted_feature_is_found(make: Make[Mapper]) -> None:
    """Of the related variables that are mapped with a p, the planted latent has p <= .05 for each."""
    latents, data = planted()
    table = make({}).map(latents, data, seed=0).table
    speaks = table["latent"].isna() | (table["latent"] == PLANTED_LATENT)
    p = table[speaks & (table["variable"] != "side")].groupby("variable")["p"].min().dropna()
    if p.empty:
        raise NotApplicable("the mapper gives no p values")
    for variable, smallest in p.items():
        expect(smallest <= 0.05, f"{variable!r} drives the latent, yet p is {smallest:.3g}; expected p <= .05")


def check_shuffled_labels_are_not_found(make: Make[Mapper]) -> None:
    """With behaviour of an independent animal P(p <= a) <= a.

    The tests of one recording depend on each other, so a recording counts once: the share of its p at or below a,
    averaged over 20 recordings, stays below the .999 quantile of Binomial(20, a) / 20.
    """
    mapper = make({})
    p_values = [_unrelated_p(mapper, seed) for seed in range(N_SHUFFLES)]
    tested = [p for p in p_values if len(p)]
    if not tested:
        raise NotApplicable("the mapper gives no p values")
    for alpha in (0.05, 0.2):
        found = float(np.mean([(p <= alpha).mean() for p in tested]))
        bound = float(np.ceil(special.bdtrik(0.999, len(tested), alpha))) / len(tested)
        expect(
            found <= bound,
            f"unrelated variables have p <= {alpha:g} in {found:.0%} of tests; expected at most {alpha:.0%} "
            f"(bound {bound:.0%}); choose a null that keeps autocorrelation",
        )


def _unrelated_p(mapper: Mapper, seed: int) -> pd.Series:
    latents, data = planted(seed=seed, behaviour_seed=1000 + seed)
    return mapper.map(latents, data, seed=seed).table["p"].dropna()


def check_dead_latent_scores_nan(make: Make[Mapper]) -> None:
    """Every score of a latent that is never active is NaN: not defined, and not zero."""
    latents, data = planted()
    table = make({}).map(latents, data, seed=0).table
    dead = table[table["latent"] == DEAD_LATENT]
    for column in _SCORES:
        defined = dead[column].dropna()
        expect(defined.empty, f"{column} of a dead latent is {list(defined[:1])}; expected NaN, or no row")


def check_order_of_sessions_is_irrelevant(make: Make[Mapper]) -> None:
    """Two sessions in either order have the same rows and scores; p may differ as two nulls of 99 draws would."""
    _, data = planted(n_sessions=2)
    backwards = replace(data, sessions=data.sessions[::-1])
    one, two = (_indexed(make({}).map(toy_latents(ordered), ordered, seed=0)) for ordered in (data, backwards))
    expect(one.index.equals(two.index), f"{len(one)} rows in one order of sessions, {len(two)} others in the other")
    for column in one.select_dtypes("number").columns.difference(["null_mean", "p", "q"]):
        values, others = (table[column].to_numpy(dtype=float, na_value=np.nan) for table in (one, two))
        same = np.allclose(values, others, rtol=1e-4, atol=1e-6, equal_nan=True)
        expect(same, f"{column} depends on the order of the sessions; use nothing but their rows")
    p, other_p = one["p"].to_numpy(), two["p"].to_numpy()
    spread = 4 * np.sqrt(2 * p * (1 - p) / 99) + 0.02
    agree = (np.abs(p - other_p) <= spread) | (np.isnan(p) & np.isnan(other_p))
    expect(agree.all(), f"{int((~agree).sum())} p depend on the order of the sessions; shift within sessions")


def check_same_seed_gives_the_same_table(make: Make[Mapper]) -> None:
    """Two mappers made alike give the same table with the same seed, bit for bit."""
    latents, data = planted()
    one, two = (make({}).map(latents, data, seed=3).table for _ in range(2))
    expect(one.equals(two), "two tables with one seed differ; draw only from numpy.random.default_rng(seed)")


def _indexed(result: MapperResult) -> pd.DataFrame:
    """The table by its keys, which may be null, in an order of their own."""
    unsaid = {"latent": -1, "condition": "", "statistic": ""}
    return result.table.fillna(unsaid).set_index(_KEYS).sort_index()


MAPPER_CHECKS = (
    check_table_follows_the_schema,
    check_planted_feature_is_found,
    check_shuffled_labels_are_not_found,
    check_dead_latent_scores_nan,
    check_order_of_sessions_is_irrelevant,
    check_same_seed_gives_the_same_table,
)
"""Every check of a mapper, in the order they are run."""
