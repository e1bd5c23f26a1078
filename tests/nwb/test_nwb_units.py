"""Units: where region and kind are found, observed intervals, and fluorescence where there are no spikes."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
from pynwb import NWBFile
from pynwb.ophys import DfOverF, Fluorescence, ImageSegmentation, OpticalChannel, RoiResponseSeries

from nldisco_core.errors import InvalidRecording


def electrodes(file: NWBFile, locations: list[str]) -> None:
    device = file.create_device(name="probe")
    group = file.create_electrode_group(name="shank", description="", location="group place", device=device)
    for location in locations:
        file.add_electrode(location=location, group=group)


def test_region_is_that_of_the_units_electrodes(load: Any) -> None:
    def fill(file: NWBFile) -> None:
        electrodes(file, ["CA1", "unknown", "CA3", "CA1"])
        for rows in ([0], [1], [2, 0], [0, 3]):
            file.add_unit(spike_times=[1.0, 2.0], electrodes=rows)

    assert load(fill).units["region"].tolist() == ["CA1", "", "CA3/CA1", "CA1"]


@pytest.mark.parametrize("column", ["location", "region", "area", "brain_area"])
def test_region_is_found_in_a_column(load: Any, column: str) -> None:
    def fill(file: NWBFile) -> None:
        file.add_unit_column(column, "where")
        for place in ("PFC", "unknown", "PPC"):
            file.add_unit(spike_times=[1.0, 2.0], **{column: place})

    assert load(fill).units["region"].tolist() == ["PFC", "", "PPC"]


def test_region_falls_back_to_the_electrode_group_where_electrodes_say_nothing(load: Any) -> None:
    def fill(file: NWBFile) -> None:
        electrodes(file, ["unknown"])
        group = file.electrode_groups["shank"]
        file.add_unit(spike_times=[1.0, 2.0], electrodes=[0], electrode_group=group)

    session = load(fill)
    assert session.units["region"].tolist() == ["group place"]
    assert session.units["electrode_group"].tolist() == ["shank"]


@pytest.mark.parametrize("column", ["cell_type", "quality"])
def test_kind_is_found_in_a_column(load: Any, column: str) -> None:
    def fill(file: NWBFile) -> None:
        file.add_unit_column(column, "what")
        file.add_unit(spike_times=[1.0, 2.0], **{column: "pyramidal"})

    assert load(fill).units["kind"].tolist() == ["pyramidal"]


def described(file: NWBFile) -> None:
    file.add_unit_column("depth", "um")
    file.add_unit_column("where", "my own column")
    file.add_unit_column("good", "passed")
    file.add_unit_column("trace", "several numbers", index=True)
    for row in range(2):
        file.add_unit(
            spike_times=[1.0, 2.0],
            id=10 + row,
            depth=1.5 * row,
            where=f"layer {row}",
            good=row > 0,
            trace=[1.0, 2.0],
            waveform_mean=np.zeros((5, 2)),
        )


def test_ids_are_text_and_scalar_columns_are_kept(load: Any) -> None:
    units = load(described).units
    assert units["id"].tolist() == ["10", "11"]
    assert units["depth"].tolist() == [0.0, 1.5]
    assert units["good"].tolist() == [False, True]
    assert not {"trace", "waveform_mean", "spike_times"} & set(units.columns)


def test_settings_name_the_columns_of_region_and_kind(load: Any) -> None:
    units = load(described, settings={"unit_region_column": "where", "unit_kind_column": "good"}).units
    assert units["region"].tolist() == ["layer 0", "layer 1"]
    assert units["kind"].tolist() == ["False", "True"]


def test_unknown_region_column_lists_the_nearest(load: Any) -> None:
    with pytest.raises(InvalidRecording, match=r"made\.nwb: unknown unit column 'wher'; did you mean 'where'"):
        load(described, settings={"unit_region_column": "wher"})


def test_observed_intervals_are_those_of_each_unit_and_widen_the_span(load: Any) -> None:
    def fill(file: NWBFile) -> None:
        file.add_unit(spike_times=[1.0, 2.0], obs_intervals=[[0.0, 3.0], [5.0, 12.0]])
        file.add_unit(spike_times=[6.0], obs_intervals=[[5.5, 7.0]])

    session = load(fill)
    assert [rows.tolist() for rows in session.observed_s] == [[[0.0, 3.0], [5.0, 12.0]], [[5.5, 7.0]]]
    assert session.span_s == (0.0, 12.0)


def test_span_runs_over_spikes_trials_and_epochs(load: Any) -> None:
    assert load().span_s == (0.5, 9.5)
    assert load(lambda file: file.add_trial(start_time=0.25, stop_time=4.0)).span_s == (0.25, 9.5)
    assert load(lambda file: file.add_epoch(start_time=1.0, stop_time=20.0, tags=["run"])).span_s == (0.5, 20.0)


def test_silent_units_are_kept(load: Any) -> None:
    def fill(file: NWBFile) -> None:
        for train in ([1.0, 2.0], [], [3.0]):
            file.add_unit(spike_times=train)

    assert load(fill).spike_times.n_spikes.tolist() == [2, 0, 1]


def test_units_without_any_spike_say_so(load: Any) -> None:
    with pytest.raises(InvalidRecording, match=r"made\.nwb: no spike"):
        load(lambda file: file.add_unit(spike_times=np.empty(0)))


def calcium(file: NWBFile) -> None:
    device = file.create_device(name="microscope")
    plane = file.create_imaging_plane(
        name="plane",
        optical_channel=OpticalChannel(name="green", description="", emission_lambda=520.0),
        description="",
        device=device,
        excitation_lambda=920.0,
        indicator="GCaMP",
        location="V1",
    )
    segmentation = ImageSegmentation(name="ImageSegmentation")
    module = file.create_processing_module("ophys", "calcium")
    module.add(segmentation)
    table = segmentation.create_plane_segmentation(name="cells", description="", imaging_plane=plane)
    table.add_column("accepted", "by hand")
    for roi in range(4):
        table.add_roi(id=roi + 100, image_mask=np.zeros((3, 3)), accepted=roi > 1)
    rois = table.create_roi_table_region(description="some", region=[1, 3])
    raw = RoiResponseSeries(name="raw", data=np.ones((6, 2)), rois=rois, unit="lumens", rate=2.0)
    ratio = RoiResponseSeries(
        name="ratio", data=np.arange(12.0).reshape(6, 2), rois=rois, unit="n.a.", timestamps=np.arange(6) / 2.0
    )
    module.add(Fluorescence(name="Fluorescence", roi_response_series=raw))
    module.add(DfOverF(name="DfOverF", roi_response_series=ratio))


def test_fluorescence_is_the_activity_where_there_are_no_spikes(load: Any) -> None:
    session = load(calcium, with_units=False)
    gc.collect()
    assert session.traces.values().tolist() == np.arange(12.0).reshape(6, 2).tolist()
    assert session.traces.times_s.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert session.units[["id", "region"]].to_numpy().tolist() == [["101", "V1"], ["103", "V1"]]
    assert session.units["accepted"].tolist() == [False, True]
    assert session.span_s == (0.0, 2.5)
    assert list(session.signals) == []
    assert any("'ratio'" in warning and "raw" in warning for warning in session.warnings)


def test_settings_choose_the_fluorescence(load: Any) -> None:
    assert load(calcium, with_units=False, settings={"roi_series": "raw"}).traces.values().tolist() == [[1.0, 1.0]] * 6
    with pytest.raises(InvalidRecording, match="unknown ROI series 'rat'"):
        load(calcium, with_units=False, settings={"roi_series": "rat"})


def test_spikes_come_before_fluorescence(load: Any) -> None:
    session = load(calcium)
    assert session.traces is None
    assert session.n_units == 2
