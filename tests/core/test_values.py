"""Values are checked once when made, refuse in so many words, and never change what they were made from."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import sparse

from nldisco_core.binned import SPLITS, Binned, BinnedSession, Covariate, Preprocessing, UnitStatistics
from nldisco_core.conformance.toys import toy_binned, toy_latents, toy_session
from nldisco_core.errors import DataError, IncompatibleData, InvalidRecording
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.mapping import MAPPING_COLUMNS, MapperResult, mapping_table
from nldisco_core.selection import Selection
from nldisco_core.session import (
    DeferredMapping,
    IntervalTable,
    Prebinned,
    Session,
    Signal,
    SpikeTrains,
    Traces,
)

UNITS = pd.DataFrame({"id": ["u0", "u1"], "region": "", "kind": ""})
TRAINS = SpikeTrains.from_units([np.array([0.1, 0.5]), np.array([0.2])])


def session(**changes: Any) -> Session:
    fields: dict[str, Any] = {"session_id": "s", "span_s": (0.0, 1.0), "units": UNITS, "spike_times": TRAINS}
    return Session(**{**fields, **changes})


class TestSession:
    @pytest.mark.parametrize(
        ("changes", "complaint"),
        [
            ({"span_s": (1.0, 1.0)}, "a finite start before a finite stop"),
            ({"span_s": (0.0, np.nan)}, "a finite start before a finite stop"),
            ({"units": UNITS.iloc[:0]}, "has no units"),
            ({"units": UNITS[["id"]]}, "unit table lacks region, kind"),
            ({"units": UNITS.assign(id="u0")}, "unit id 'u0' occurs more than once"),
            ({"spike_times": None}, "exactly one of spike_times, traces and prebinned; got 0"),
            (
                {"traces": Traces(times_s=np.arange(3.0), source=np.zeros((3, 2)))},
                "exactly one of spike_times, traces and prebinned; got 2",
            ),
            ({"spike_times": SpikeTrains.from_units([np.array([0.1])])}, "activity of 1 units for a table of 2"),
            ({"observed_s": (np.array([[0.0, 1.0]]),)}, "observed intervals of 1 units for 2"),
            (
                {"observed_s": (np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]]))},
                "unit 1: intervals must be finite and end after they start",
            ),
        ],
    )
    def test_sizes_and_spans_that_disagree_are_refused(self, changes: dict[str, Any], complaint: str) -> None:
        with pytest.raises(InvalidRecording, match=complaint):
            session(**changes)

    def test_an_unknown_table_names_the_nearest(self) -> None:
        with pytest.raises(InvalidRecording, match="unknown interval table 'trails'; did you mean 'trials'"):
            toy_session().table("trails")

    def test_the_kind_of_activity_follows_from_what_it_holds(self) -> None:
        traces = Traces(times_s=np.arange(3.0), source=np.zeros((3, 2)))
        bins = Prebinned(start_s=np.arange(3.0), bin_s=1.0, source=np.zeros((3, 2)), kind="rate")
        assert session().activity_kind == "counts"
        assert session(spike_times=None, traces=traces).activity_kind == "continuous"
        assert session(spike_times=None, prebinned=bins).activity_kind == "rate"

    def test_observed_intervals_are_ordered(self) -> None:
        rows = np.array([[3.0, 4.0], [0.0, 1.0]])
        made = session(observed_s=(rows, rows))
        assert made.observed_s is not None
        assert made.observed_s[0].tolist() == [[0.0, 1.0], [3.0, 4.0]]


class TestSpikeTrains:
    @given(
        st.lists(
            arrays(np.float64, st.integers(0, 5), elements=st.floats(-100, 100)).map(np.sort), min_size=1, max_size=5
        )
    )
    def test_units_come_back_as_they_went_in(self, trains: list[NDArray[np.float64]]) -> None:
        kept = SpikeTrains.from_units(trains)
        assert [train.tolist() for train in kept] == [train.tolist() for train in trains]
        assert kept.n_spikes.tolist() == [len(train) for train in trains]
        assert kept.flat().tolist() == np.concatenate(trains).tolist()

    def test_unsorted_and_undefined_spikes_are_refused_by_unit(self) -> None:
        good = np.array([1.0, 2.0])
        with pytest.raises(InvalidRecording, match="unit 1: spike times are not sorted"):
            SpikeTrains.from_units([good, good[::-1]])
        with pytest.raises(InvalidRecording, match="unit 2: spike times hold NaN"):
            SpikeTrains.from_units([good, np.empty(0), np.array([1.0, np.nan])])
        SpikeTrains.from_units([good, np.array([0.5])])

    def test_a_train_that_lies_in_a_file_is_read_and_checked_when_asked_for(self, tmp_path: Any) -> None:
        with h5py.File(tmp_path / "spikes.h5", "w") as file:
            source = file.create_dataset("spikes", data=np.array([1.0, 2.0, 4.0, 3.0]))
            kept = SpikeTrains(source, np.array([0, 2, 4]))
            assert kept[0].tolist() == [1.0, 2.0]
            with pytest.raises(InvalidRecording, match="unit 1: spike times are not sorted"):
                kept[1]
            with pytest.raises(InvalidRecording, match="unit 1: spike times are not sorted"):
                kept.flat()

    @pytest.mark.parametrize("offsets", [[0, 2], [1, 3], [0, 4, 3], [[0, 3]]])
    def test_offsets_must_cover_the_spikes(self, offsets: list[Any]) -> None:
        with pytest.raises(InvalidRecording, match="offsets must"):
            SpikeTrains(np.array([1.0, 2.0, 3.0]), np.array(offsets))

    def test_trains_cannot_be_written_to_and_end_with_an_index_error(self) -> None:
        with pytest.raises(ValueError, match="read-only"):
            TRAINS[0][0] = 3.0
        with pytest.raises(IndexError):
            TRAINS[2]
        with pytest.raises(IndexError):
            TRAINS[-1]


class TestSignal:
    @pytest.mark.parametrize(
        ("changes", "complaint"),
        [
            ({"values": np.zeros(3)}, "expected one row per time"),
            ({"times_s": np.array([0.0, np.inf])}, "1 times are not finite"),
            ({"times_s": np.array([1.0, 1.0])}, "times must increase strictly"),
            ({"kind": "circular"}, "a period is stated for circular signals, and only for them"),
            ({"period": 2.0}, "a period is stated for circular signals, and only for them"),
            ({"kind": "discrete"}, "needs the labels of its codes"),
            ({"channels": ("x", "y")}, "2 names for 1 channels"),
            ({"support_s": np.array([[1.0, 0.0]])}, "intervals must be finite"),
        ],
    )
    def test_a_signal_that_breaks_a_rule_is_refused_by_name(self, changes: dict[str, Any], complaint: str) -> None:
        fields: dict[str, Any] = {"name": "speed", "times_s": np.array([0.0, 1.0]), "values": np.zeros(2)}
        with pytest.raises(InvalidRecording, match=f"signal 'speed'.*{complaint}"):
            Signal(**{**fields, **changes})

    def test_one_channel_is_a_column_and_its_arrays_are_read_only(self) -> None:
        times, values = np.array([0.0, 0.5, 2.0]), np.array([1.0, np.nan, 3.0])
        signal = Signal(name="speed", times_s=times, values=values)
        assert signal.values.shape == (3, 1)
        assert signal.channels == ("0",)
        assert signal.sampling_period_s == 1.0
        with pytest.raises(ValueError, match="read-only"):
            signal.values[0] = 0
        times[0] = -1.0  # the caller's own array stays writable
        assert np.isnan(Signal(name="x", times_s=times[:1], values=values[:1]).sampling_period_s)


class TestIntervalTable:
    @pytest.mark.parametrize(
        ("rows", "complaint"),
        [
            ([[0.0, 1.0], [1.0, 0.5]], "row 1 ends before it starts"),
            ([[1.0, 2.0], [0.0, 1.0]], "ordered by start_s"),
            ([[0.0, np.nan]], "row 0 has no finite"),
        ],
    )
    def test_rows_that_break_a_rule_are_refused(self, rows: list[list[float]], complaint: str) -> None:
        with pytest.raises(InvalidRecording, match=complaint):
            IntervalTable(pd.DataFrame(rows, columns=["start_s", "stop_s"]))

    def test_trials_may_overlap_and_events_are_named_columns(self) -> None:
        frame = pd.DataFrame({"start_s": [0.0, 0.5], "stop_s": [1.0, 2.0], "cue_s": [0.2, np.nan]}, index=[7, 9])
        table = IntervalTable(frame, events=("cue_s",))
        assert table.bounds_s.tolist() == [[0.0, 1.0], [0.5, 2.0]]
        assert list(table.frame.index) == [0, 1]
        with pytest.raises(InvalidRecording, match="lacks go_s; it has start_s, stop_s, cue_s"):
            IntervalTable(frame, events=("go_s",))


class TestActivityInBins:
    def test_traces_need_a_row_per_time(self) -> None:
        with pytest.raises(InvalidRecording, match="traces"):
            Traces(times_s=np.arange(3.0), source=np.zeros((2, 4)))
        with pytest.raises(InvalidRecording, match="increase strictly"):
            Traces(times_s=np.array([0.0, 0.0]), source=np.zeros((2, 4)))

    def test_prebinned_activity_needs_a_width_and_increasing_starts(self) -> None:
        fields: dict[str, Any] = {"start_s": np.arange(2.0), "bin_s": 1.0, "source": np.zeros((2, 3)), "kind": "counts"}
        assert Prebinned(**fields).values().shape == (2, 3)
        for change, complaint in (
            ({"bin_s": 0.0}, "positive number of seconds"),
            ({"start_s": np.arange(3.0)}, "bin starts for"),
            ({"start_s": np.array([1.0, 0.0])}, "increase strictly"),
        ):
            with pytest.raises(InvalidRecording, match=complaint):
                Prebinned(**{**fields, **change})


def test_deferred_values_are_read_once_when_asked_for() -> None:
    reads: list[str] = []
    mapping = DeferredMapping({name: lambda name=name: reads.append(name) or name.upper() for name in "ab"})
    assert list(mapping) == ["a", "b"]
    assert (len(mapping), reads) == (2, [])
    assert (mapping["b"], mapping["b"], reads) == ("B", "B", ["b"])
    assert "c" not in mapping


def bins(**changes: Any) -> BinnedSession:
    return replace(toy_binned(n_bins=20, n_units=2, n_trials=4).sessions[0], **changes)


class TestBinned:
    @pytest.mark.parametrize(
        ("changes", "complaint"),
        [
            ({"trial": np.zeros(3, dtype=np.int32)}, "trial has 3 rows for 20 bins"),
            ({"units": UNITS.iloc[:1]}, "1 units in the table for 2 columns of activity"),
            ({"observed": np.ones((20, 3), dtype=bool)}, "the mask of observed entries"),
            (
                {"covariates": {"x": Covariate(name="x", values=np.zeros(3), kind="linear")}},
                "'x' has 3 rows for 20 bins",
            ),
        ],
    )
    def test_parts_that_disagree_in_length_are_refused(self, changes: dict[str, Any], complaint: str) -> None:
        with pytest.raises(DataError, match=complaint):
            bins(**changes)

    def test_arrays_cannot_be_written_to(self) -> None:
        data = toy_binned(n_bins=20, n_sessions=2, n_trials=4)
        for array in (
            data.activity,
            data.sessions[0].activity,
            data.split,
            data.sessions[0].covariates["place"].values,
        ):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1
        with pytest.raises(FrozenInstanceError):
            data.bin_s = 1.0  # type: ignore[misc]

    def test_sessions_are_stacked_one_after_the_other(self) -> None:
        data = toy_binned(n_bins=30, n_sessions=3, n_trials=5)
        assert data.row_offsets.tolist() == [0, 30, 60, 90]
        assert data.activity.tolist() == [row for part in data.sessions for row in part.activity.tolist()]
        assert data.session_of_bin.tolist() == [0] * 30 + [1] * 30 + [2] * 30
        assert np.allclose(data.start_s, np.tile(np.arange(30) * 0.05, 3))

    def test_sessions_of_different_units_cannot_be_stacked(self) -> None:
        mixed = replace(
            toy_binned(), sessions=(toy_binned(n_units=3).sessions[0], toy_binned(n_units=4, n_sessions=2).sessions[1])
        )
        assert not mixed.shares_units
        for ask in (lambda: mixed.activity, lambda: mixed.units, lambda: mixed.observed):
            with pytest.raises(IncompatibleData, match="the 2 sessions hold different units"):
                ask()
        assert mixed.split.shape == (1800,)

    def test_a_mask_of_one_session_is_stacked_with_all_observed_of_the_other(self) -> None:
        hidden = np.ones((20, 2), dtype=bool)
        hidden[3, 1] = False
        data = Binned(sessions=(bins(), bins(session_id="b", observed=hidden)), bin_s=0.05, activity_kind="counts")
        assert data.observed is not None
        assert np.argwhere(~data.observed).tolist() == [[23, 1]]

    @given(st.integers(0, 2**32 - 1))
    def test_choosing_rows_is_what_a_loop_would_choose(self, seed: int) -> None:
        data = toy_binned(n_bins=24, n_units=2, n_sessions=2, n_trials=6)
        data = replace(
            data,
            preprocessing=Preprocessing(
                statistics=tuple(UnitStatistics(offset=np.full(2, s), scale=np.ones(2)) for s in range(2))
            ),
        )
        mask = np.random.default_rng(seed).random(48) < 0.3
        mask[np.random.default_rng(seed).integers(48)] = True
        kept = data.rows(mask)
        chosen = [row for row in range(48) if mask[row]]
        assert kept.activity.tolist() == [data.activity[row].tolist() for row in chosen]
        assert kept.start_s.tolist() == [data.start_s[row] for row in chosen]
        place = data.covariate("place").values
        assert kept.covariate("place").values.tolist() == [place[row].tolist() for row in chosen]
        sessions = sorted({int(row >= 24) for row in chosen})
        assert [part.session_id for part in kept.sessions] == [f"toy-{index + 1}" for index in sessions]
        assert [int(item.offset[0]) for item in kept.preprocessing.statistics] == sessions

    def test_a_split_without_bins_and_an_unknown_one_are_refused(self) -> None:
        data = replace(toy_binned(), sessions=(replace(toy_binned().sessions[0], split=np.zeros(900, dtype=np.int8)),))
        assert data.train().n_bins == 900
        with pytest.raises(DataError, match="the test split holds no bins"):
            data.part("test")
        with pytest.raises(DataError, match="unknown split 'tset'; did you mean 'test'"):
            data.part("tset")
        with pytest.raises(DataError, match="no bins are left"):
            data.rows(np.zeros(900, dtype=bool))
        assert [toy_binned().part(name).split.tolist().count(code) for code, name in enumerate(SPLITS)] == [300] * 3

    @given(st.integers(1, 6), st.integers(0, 1000))
    def test_windows_never_cross_a_gap_a_trial_a_session_or_a_split(self, n_bins: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        sessions = []
        for index in range(2):
            start = np.cumsum(rng.choice([1, 1, 1, 3], 20)) * 50_000_000
            trial = np.sort(rng.integers(-1, 3, 20)).astype(np.int32)
            split = np.sort(rng.integers(-1, 2, 20)).astype(np.int8)
            sessions.append(bins(session_id=str(index), start_ns=start.astype(np.int64), trial=trial, split=split))
        data = Binned(sessions=tuple(sessions), bin_s=0.05, activity_kind="counts")
        session_of, trial, start_ns = data.session_of_bin, data.trial, np.concatenate([s.start_ns for s in sessions])
        expected = [
            first
            for first in range(40 - n_bins + 1)
            if all(
                (session_of[row], trial[row], data.split[row]) == (session_of[first], trial[first], data.split[first])
                and start_ns[row] - start_ns[first] == (row - first) * 50_000_000
                for row in range(first, first + n_bins)
            )
        ]
        assert data.window_starts(n_bins).tolist() == expected
        with pytest.raises(DataError, match="at least 1"):
            data.window_starts(0)

    def test_trials_are_given_with_their_rows_session_by_session(self) -> None:
        first, second = np.array([-1, 0, 0, 2, -1]), np.array([1, -1, 1, 0, 0])
        sessions = tuple(
            replace(part, trial=trial.astype(np.int32))
            for part, trial in zip(
                toy_binned(n_bins=5, n_sessions=2, n_trials=5).sessions, (first, second), strict=True
            )
        )
        data = replace(toy_binned(), sessions=sessions)
        assert [(s, trial, rows.tolist()) for s, trial, rows in data.by_trial()] == [
            (0, 0, [1, 2]),
            (0, 2, [3]),
            (1, 0, [8, 9]),
            (1, 1, [5, 7]),
        ]

    def test_a_variable_is_nan_where_a_session_lacks_it_and_codes_share_one_list(self) -> None:
        def with_side(session_id: str, codes: list[float], categories: tuple[str, ...]) -> BinnedSession:
            side = Covariate(name="side", values=np.array(codes), kind="discrete", categories=categories)
            part = toy_binned(n_bins=3, n_trials=3).sessions[0]
            return replace(part, session_id=session_id, covariates={"side": side})

        data = replace(
            toy_binned(),
            sessions=(
                with_side("a", [0, 1, np.nan], ("left", "right")),
                with_side("b", [0, 1, 1], ("up", "left")),
                replace(with_side("c", [0, 0, 0], ("up",)), covariates={}),
            ),
        )
        side = data.covariate("side")
        assert side.categories == ("left", "right", "up")
        labels = ["-" if np.isnan(code) else side.categories[int(code)] for code in side.values[:, 0]]
        assert labels == ["left", "right", "-", "up", "left", "left", "-", "-", "-"]
        assert side.defined.tolist() == [label != "-" for label in labels]
        with pytest.raises(DataError, match="unknown variable 'sides'; did you mean 'side'"):
            data.covariate("sides")

    def test_a_variable_of_two_kinds_is_refused(self) -> None:
        linear = Covariate(name="x", values=np.zeros(20), kind="linear")
        circular = Covariate(name="x", values=np.zeros(20), kind="circular", period=1.0)
        data = Binned(
            sessions=(bins(covariates={"x": linear}), bins(covariates={"x": circular})),
            bin_s=0.05,
            activity_kind="counts",
        )
        with pytest.raises(DataError, match="'x' is linear in one session and circular in another"):
            data.covariate("x")

    def test_at_least_one_session_and_a_positive_width_are_needed(self) -> None:
        with pytest.raises(DataError, match="at least one session"):
            Binned(sessions=(), bin_s=0.05, activity_kind="counts")
        with pytest.raises(DataError, match="positive number of seconds"):
            Binned(sessions=(bins(),), bin_s=0.0, activity_kind="counts")

    def test_normalised_values_go_back_to_what_was_recorded(self) -> None:
        counts = np.array([[0.0, 4.0], [9.0, 1.0]])
        statistics = UnitStatistics(offset=np.array([1.0, 2.0]), scale=np.array([2.0, 4.0]))
        scaled = Preprocessing(normalise="z-score", statistics=(statistics,))
        assert np.allclose(scaled.to_recorded((counts - [1.0, 2.0]) / [2.0, 4.0]), counts)
        assert np.allclose(Preprocessing(normalise="sqrt").to_recorded(np.sqrt(counts)), counts)
        assert np.allclose(Preprocessing().to_recorded(counts), counts)


def nested_space(*, per_level: bool) -> LatentSpace:
    """Three latents in levels 1 and 3; with masks the second activation of latent 0 counts at the deepest only."""
    dense = np.array([[1.0, 0.0, 2.0], [3.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 5.0]])
    return LatentSpace(
        codes=(sparse.csc_array(dense),),
        session_ids=("a", "b"),
        row_offsets=np.array([0, 1, 4]),
        level_sizes=(1, 3),
        level_masks=(np.array([0b11, 0b10, 0b10, 0b10, 0b10], dtype=np.uint8),) if per_level else None,
    )


class TestLatents:
    def test_a_space_named_latents_is_needed(self) -> None:
        space = nested_space(per_level=False)
        assert Latents.of(space).main is space
        with pytest.raises(DataError, match="a space named 'latents'; got factors"):
            Latents({"factors": space})
        with pytest.raises(DataError, match="unknown latent space 'factor'"):
            Latents.of(space).space("factor")

    @pytest.mark.parametrize(
        ("changes", "complaint"),
        [
            ({"codes": np.zeros((4, 3))}, "expected instances x rows x latents"),
            ({"codes": ()}, "at least one instance"),
            ({"codes": (sparse.csc_array((4, 3)), sparse.csc_array((4, 2)))}, "all of one shape"),
            ({"row_offsets": np.array([0, 4])}, "do not fit 4 rows of 2 sessions"),
            ({"row_offsets": np.array([0, 1, 5])}, "do not fit 4 rows of 2 sessions"),
            ({"level_sizes": (2, 1)}, "must ascend and end at the 3 latents"),
            ({"level_sizes": (1, 2)}, "must ascend and end at the 3 latents"),
        ],
    )
    def test_shapes_that_do_not_fit_are_refused(self, changes: dict[str, Any], complaint: str) -> None:
        with pytest.raises(DataError, match=complaint):
            replace(nested_space(per_level=False), **changes)

    def test_a_level_holds_its_own_latents_and_the_deepest_is_the_default(self) -> None:
        space = nested_space(per_level=False)
        assert space.level_of_latent.tolist() == [0, 1, 1]
        assert space.dense().tolist() == [[1, 0, 2], [3, 0, 0], [0, 4, 0], [0, 0, 5]]
        assert space.dense(level=0).tolist() == [[1, 0, 0], [3, 0, 0], [0, 0, 0], [0, 0, 0]]
        assert space.csr(level=1).toarray().tolist() == space.dense().tolist()

    def test_a_level_mask_takes_activations_out_of_a_level(self) -> None:
        space = nested_space(per_level=True)
        assert space.dense(level=0).tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
        assert space.dense(level=1).tolist() == nested_space(per_level=False).dense().tolist()

    @pytest.mark.parametrize("kind", ["sparse", "masked", "dense"])
    @given(mask=arrays(bool, 4))
    def test_rows_of_a_space_are_those_of_its_dense_form(self, kind: str, mask: NDArray[np.bool_]) -> None:
        space = nested_space(per_level=kind == "masked")
        if kind == "dense":
            space = replace(space, codes=np.stack([space.dense()]))
        space = replace(space, defined=np.array([True, False, True, True]))
        kept = space.rows(mask)
        for level in (0, 1):
            assert kept.dense(level=level).tolist() == space.dense(level=level)[mask].tolist()
        assert np.diff(kept.row_offsets).tolist() == [int(mask[:1].sum()), int(mask[1:].sum())]
        assert kept.defined is not None
        assert kept.defined.tolist() == [[True, False, True, True][row] for row in np.flatnonzero(mask)]

    def test_activations_cannot_be_written_to(self) -> None:
        latents = toy_latents(toy_binned(), n_instances=2, n_dead=1)
        with pytest.raises(ValueError, match="read-only"):
            latents.main.csc(1).data[0] = 3
        dense = replace(latents.main, codes=np.zeros((1, 900, 2)))
        with pytest.raises(ValueError, match="read-only"):
            dense.dense()[0] = 3

    def test_what_is_not_active_is_not_stored(self) -> None:
        data = toy_binned()
        space = toy_latents(data, n_dead=2).main
        assert (space.n_instances, space.n_rows, space.n_latents) == (1, 900, 8)
        counts = np.where(np.asarray(data.activity) >= 2, data.activity, 0)
        assert np.array_equal(space.dense()[:, :6], counts)
        assert space.csc().nnz == np.count_nonzero(counts)


class TestMapping:
    def test_a_table_has_every_column_in_its_type_and_nulls_for_what_is_unsaid(self) -> None:
        table = mapping_table({"instance": [0, 0], "latent": [1, None], "variable": "heading", "resultant": [0.5, 0.1]})
        assert list(table.columns) == [*MAPPING_COLUMNS, "resultant"]
        assert {column: str(table[column].dtype) for column in MAPPING_COLUMNS} == dict(MAPPING_COLUMNS)
        assert table["p"].isna().all()
        assert table["condition"].isna().all()
        assert (table["split"] == "all").all()
        assert (table["sign"] == 0).all()
        assert (table["label_use"] == "none").all()
        assert table["latent"].isna().tolist() == [False, True]
        MapperResult(table=table)

    def test_an_empty_table_keeps_its_types(self) -> None:
        table = mapping_table({})
        assert len(MapperResult(table=table).table) == 0

    def test_a_column_that_cannot_be_read_is_named(self) -> None:
        with pytest.raises(DataError, match="column 'coverage' cannot be read as float64"):
            mapping_table({"instance": [0], "coverage": ["much"]})
        with pytest.raises(DataError, match="column 'latent' cannot be read as Int32"):
            mapping_table({"instance": [0], "latent": [0.5]})

    def test_a_result_refuses_a_table_of_another_shape(self) -> None:
        table = mapping_table({"instance": [0], "latent": [0]})
        with pytest.raises(DataError, match="lacks p, q; make it with mapping_table"):
            MapperResult(table=table.drop(columns=["p", "q"]))
        with pytest.raises(DataError, match="coverage is float32, expected float64"):
            MapperResult(table=table.astype({"coverage": "float32"}))

    def test_arrays_cannot_be_written_to(self) -> None:
        result = MapperResult(table=mapping_table({}), arrays={"heading/curve": np.zeros(3)})
        with pytest.raises(ValueError, match="read-only"):
            result.arrays["heading/curve"][0] = 1
        with pytest.raises(TypeError):
            result.arrays["more"] = np.zeros(1)  # type: ignore[index]


def test_a_selection_is_a_plain_value() -> None:
    here = Selection(run="r", latent=3)
    assert replace(here, latent=3) == here
    assert hash(here) == hash(Selection(run="r", latent=3))
    with pytest.raises(FrozenInstanceError):
        here.latent = 4  # type: ignore[misc]


def test_toys_are_the_same_for_the_same_seed_and_tuned_as_they_say() -> None:
    assert np.array_equal(toy_binned(seed=3).activity, toy_binned(seed=3).activity)
    assert not np.array_equal(toy_binned(seed=3).activity, toy_binned(seed=4).activity)
    data = toy_binned(n_bins=4000, n_trials=50)
    heading = data.covariate("heading").values[5:, 0]
    for unit in range(data.n_units):
        weights = np.asarray(data.activity, dtype=float)[5:, unit]
        preferred = np.angle((weights * np.exp(1j * heading)).sum())
        assert abs(np.angle(np.exp(1j * (preferred - 2 * np.pi * unit / data.n_units)))) < 0.3
