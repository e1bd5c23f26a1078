"""Every score against a plain loop or scikit-learn, with undefined rows, silent columns, ties and lone bins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nldisco_selectivity.scores import Active, Scores, large_enough, max_mcc, score
from scipy import sparse, stats
from sklearn.metrics import matthews_corrcoef, mutual_info_score, roc_auc_score

from nldisco_core.tuning import Conditions

N_COLUMNS = 3


@dataclass(frozen=True, kw_only=True)
class Case:
    activations: np.ndarray
    codes: np.ndarray
    n_conditions: int
    rows: np.ndarray
    segments: np.ndarray
    by_trial: bool

    @property
    def used(self) -> np.ndarray:
        return self.rows & (self.codes >= 0)

    @property
    def first_half(self) -> np.ndarray:
        return np.cumsum(self.rows) <= self.rows.sum() // 2

    def scored(self) -> Scores:
        chosen = Conditions(
            variable="v",
            kind="discrete",
            codes=self.codes.astype(np.int32),
            labels=tuple(str(code) for code in range(self.n_conditions)),
            centres=np.arange(self.n_conditions, dtype=float),
        )
        return score(
            Active.of(sparse.csc_array(self.activations), self.rows),
            chosen,
            self.rows,
            first_half=self.first_half,
            segments=self.segments.astype(np.int32),
            by_trial=self.by_trial,
        )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    n_rows, n_conditions = draw(st.integers(1, 70)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    density = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    if draw(st.booleans()):
        values = rng.integers(1, 4, (n_rows, N_COLUMNS)).astype(float)
    else:
        values = rng.lognormal(size=(n_rows, N_COLUMNS)) * draw(st.sampled_from([1e-3, 1.0, 1e4]))
    activations = np.where(rng.random((n_rows, N_COLUMNS)) < density, values, 0.0)
    activations[:, 0] = 0.0
    if draw(st.booleans()):
        codes = np.repeat(rng.integers(-1, n_conditions, n_rows), rng.integers(1, 6, n_rows))[:n_rows]
    else:
        codes = rng.integers(-1, n_conditions, n_rows)
    return Case(
        activations=activations,
        codes=codes,
        n_conditions=n_conditions,
        rows=rng.random(n_rows) < draw(st.sampled_from([0.5, 1.0])),
        segments=np.cumsum(rng.random(n_rows) < 0.15),
        by_trial=draw(st.booleans()),
    )


def expected_scores(a: np.ndarray, inside: np.ndarray) -> dict[str, float]:
    """Scores of one column for one condition, `a` and `inside` over the defined rows."""
    nan = float("nan")
    if not (a > 0).any():
        names = ("coverage", "specificity", "precision", "selectivity", "youden", "mcc", "lift", "auroc", "cohens_d")
        return dict.fromkeys((*names, "mean_on", "mean_off"), nan)
    on, off, active = a[inside], a[~inside], a > 0
    during = (on > 0).mean() if len(on) else nan
    outside = (off > 0).mean() if len(off) else nan
    precision = inside[active].mean()
    both_classes = inside.any() and not inside.all()
    pooled = (on.var() + off.var()) / 2 if both_classes else 0.0
    enough = len(on) >= 5 and len(off) >= 20 and pooled > 1e-12 * a.var()
    return {
        "coverage": during,
        "specificity": 1 - outside,
        "precision": precision,
        "selectivity": during / (during + outside) if during + outside > 0 else nan,
        "youden": during - outside,
        "mcc": matthews_corrcoef(inside, active) if both_classes and not active.all() else nan,
        "lift": precision / inside.mean() if inside.any() else nan,
        "auroc": roc_auc_score(inside, a) if both_classes else nan,
        "cohens_d": (on.mean() - off.mean()) / np.sqrt(pooled) if enough else nan,
        "mean_on": on.mean() if len(on) else nan,
        "mean_off": off.mean() if len(off) else nan,
    }


def expected_levels(a: np.ndarray) -> np.ndarray:
    """0 for silent, 1 to 7 by rank among the active."""
    active = a > 0
    level = np.zeros(len(a), dtype=int)
    if active.any():
        share = (stats.rankdata(a[active]) - 0.5) / active.sum()
        level[active] = 1 + np.minimum(np.floor(share * 7 + 1e-12), 6).astype(int)
    return level


def runs(rows: np.ndarray, breaks: np.ndarray) -> int:
    """Groups of consecutive chosen rows; `breaks[i]` says that row i does not follow on row i - 1."""
    count, previous = 0, False
    for row, chosen in enumerate(rows):
        count += bool(chosen) and (not previous or bool(breaks[row]))
        previous = bool(chosen)
    return count


@settings(max_examples=120, deadline=None)
@given(cases())
def test_scores_equal_plain_references(case: Case) -> None:
    found = case.scored()
    used, codes = case.used, case.codes[case.used]
    for column in range(N_COLUMNS):
        a = case.activations[used, column]
        for condition in range(case.n_conditions):
            expected = expected_scores(a, codes == condition)
            for name, value in expected.items():
                scale = max(1.0, abs(value)) if np.isfinite(value) else 1.0
                assert found.by_condition[name][column, condition] == pytest.approx(
                    value, abs=1e-9 * scale, nan_ok=True
                ), name
            assert found.by_condition["n_active"][column, condition] == (a[codes == condition] > 0).sum()
            assert found.n_on[condition] == (codes == condition).sum()
            assert found.n_off[condition] == (codes != condition).sum()
        assert found.n_active[column] == (a > 0).sum()


@settings(max_examples=120, deadline=None)
@given(cases())
def test_visits_and_episodes_equal_a_plain_loop(case: Case) -> None:
    found = case.scored()
    n_rows = len(case.codes)
    for column in range(N_COLUMNS):
        active = case.used & (case.activations[:, column] > 0)
        for condition in range(case.n_conditions):
            visits = set()
            number = 0
            for row in range(n_rows):
                if row and (case.codes[row] != case.codes[row - 1] or case.segments[row] != case.segments[row - 1]):
                    number += 1
                if active[row] and case.codes[row] == condition:
                    visits.add(number)
            assert found.by_condition["n_visits"][column, condition] == len(visits)
        if case.by_trial:
            assert found.n_visits[column] == len(set(case.segments[active]))
        else:
            assert found.n_visits[column] == runs(active, np.diff(case.segments, prepend=case.segments[0]) != 0)


@settings(max_examples=120, deadline=None)
@given(cases())
def test_whole_variable_scores_equal_plain_references(case: Case) -> None:
    found = case.scored()
    used, codes = case.used, case.codes[case.used]
    enough = [c for c in range(case.n_conditions) if (codes == c).sum() >= 5 and (codes != c).sum() >= 20]
    np.testing.assert_array_equal(np.flatnonzero(large_enough(found.n_on)), enough)
    for column in range(N_COLUMNS):
        a = case.activations[used, column]
        if not (a > 0).any():
            assert np.isnan([found.max_mcc[column], found.mutual_information[column]]).all()
            continue
        largest = max((matthews_corrcoef(codes == c, a > 0) for c in enough), default=float("nan"))
        assert found.max_mcc[column] == pytest.approx(largest, abs=1e-9, nan_ok=True)
        level = expected_levels(a)
        cells = len(set(zip(level, codes, strict=True)))
        correction = (len(set(level)) + len(set(codes)) - cells - 1) / (2 * len(a))
        expected = (mutual_info_score(level, codes) + correction) / np.log(2)
        assert found.mutual_information[column] == pytest.approx(expected, abs=1e-9)
        curves = [
            [
                case.activations[half & used & (case.codes == c), column].mean()
                for c in range(case.n_conditions)
                if all((h & used & (case.codes == c)).any() for h in (case.first_half, ~case.first_half))
            ]
            for half in (case.first_half, ~case.first_half)
        ]
        flat = any(np.ptp(curve) <= 1e-9 * max(map(abs, curve)) for curve in curves) if curves[0] else True
        if len(curves[0]) >= 3 and not flat:
            assert found.stability[column] == pytest.approx(np.corrcoef(*curves)[0, 1], abs=1e-9)
        elif len(curves[0]) < 3:
            assert np.isnan(found.stability[column])


def test_largest_correlation_is_zero_for_columns_that_never_or_always_are_active() -> None:
    n_on = np.array([30, 40])
    np.testing.assert_array_equal(max_mcc(np.array([[0, 0], [30, 40]]), n_on), [0.0, 0.0])
    np.testing.assert_array_equal(max_mcc(np.array([[3, 0]]), np.array([4, 10])), [0.0])
