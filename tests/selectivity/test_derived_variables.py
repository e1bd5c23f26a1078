"""Conjunctions and windows around events, against plain loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from nldisco_selectivity.derived import around_event, conjunction

from nldisco_core.binned import Binned, Covariate
from nldisco_core.conformance.toys import toy_binned
from nldisco_core.errors import DataError
from nldisco_core.session import IntervalTable
from nldisco_core.tuning import conditions


def with_cue(data: Binned, seed: int = 0) -> Binned:
    rng = np.random.default_rng(seed)
    (session,) = data.sessions
    frame = session.trials.frame.copy()
    frame["cue_s"] = frame["start_s"] + rng.random(len(frame))
    frame.loc[2, "cue_s"] = np.nan
    return replace(data, sessions=(replace(session, trials=IntervalTable(frame, events=("cue_s",))),))


@pytest.mark.parametrize("window", [(0.1, 0.3), (0.0, 0.05), (2.0, 2.0)])
def test_window_holds_the_bins_whose_centre_lies_in_it(window: tuple[float, float]) -> None:
    data = with_cue(toy_binned())
    trial = data.trial.copy()
    trial[:10] = -1
    data = replace(data, sessions=(replace(data.sessions[0], trial=trial),))
    covariate = around_event(data, "cue", *window)
    times = data.sessions[0].trials.frame["cue_s"].dropna().to_numpy()
    for row in range(data.n_bins):
        centre = data.start_s[row] + 0.025
        inside = any(t - window[0] <= centre < t + window[1] for t in times)
        expected = np.nan if row < 10 else float(inside)
        np.testing.assert_equal(covariate.values[row, 0], expected)
    assert covariate.source == "event"
    assert covariate.name == "around cue"


def test_window_of_an_event_outside_of_trials_compares_all_bins() -> None:
    data = toy_binned(n_bins=200)
    values = np.full(200, np.nan)
    values[[50, 120]] = 0
    event = Covariate(name="event", values=values, kind="discrete", source="event", categories=("tone",))
    (session,) = data.sessions
    data = replace(data, sessions=(replace(session, trials=None, covariates={"event": event}),))
    inside = np.flatnonzero(around_event(data, "tone", 0.1, 0.1).values[:, 0])
    assert inside.tolist() == [48, 49, 50, 51, 118, 119, 120, 121]
    with pytest.raises(DataError, match="did you mean 'tone'"):
        around_event(data, "tome", 0.1, 0.1)


def test_conjunction_is_the_pair_of_conditions_where_both_are_defined() -> None:
    data = toy_binned()
    heading, side = data.covariate("heading"), data.covariate("side")
    cut = conditions(heading, n_circular=4), conditions(side)
    both = conjunction((heading, cut[0]), (side, cut[1]))
    assert both.source == "signal"
    assert both.categories is not None
    for row in range(data.n_bins):
        a, b = cut[0].codes[row], cut[1].codes[row]
        if a < 0 or b < 0:
            assert np.isnan(both.values[row, 0])
        else:
            assert both.categories[int(both.values[row, 0])] == f"{cut[0].labels[a]} & {cut[1].labels[b]}"


def test_variables_that_never_meet_make_no_conjunction() -> None:
    values = pd.Series([0.0, 1.0, np.nan, np.nan]).to_numpy()
    one, other = (Covariate(name=n, values=v, kind="discrete") for n, v in (("a", values), ("b", values[::-1])))
    with pytest.raises(DataError, match="never defined together"):
        conjunction((one, conditions(one)), (other, conditions(other)))
