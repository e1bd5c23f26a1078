"""Settings of the dataset of files: where they lie, and what they leave unsaid."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, field_validator

from nldisco_core.config import Config, parse, read_toml

__all__ = ["FilesConfig", "FormatName", "IntervalLayout", "Layout", "ObservedLayout", "Reference", "SignalLayout"]

FormatName = Literal["nwb", "phy", "suite2p", "caiman", "stimulus-responses", "spike-text", "arrays"]
Kind = Literal["linear", "circular", "discrete", "position"]
TimeUnit = Literal["s", "ms", "us", "ns", "samples"]
Seconds = Annotated[float, Field(allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]

Reference = str | tuple[str, ...]
"""Name of an array or column, several of them, or a pattern such as ``unit_*``; ``file.csv:column`` names another file
beside the recording, ``file.npy`` the only array of one."""


class SignalLayout(Config):
    """One behavioural or stimulus signal; what is left out is inferred.

    Attributes
    ----------
    values : its array, or the columns that are its channels; left out for a signal that is found by itself
    times, sample_hz, start_s : when its samples were taken; by default with the rows of the activity
    time_unit : of its times, where it differs from the recording's
    kind, period, physical_unit : override what name and values suggest; a period goes with circular signals
    channels_first : the array is (n_channels, n_samples)
    """

    values: Reference | None = None
    times: str | None = None
    sample_hz: Rate | None = None
    start_s: Seconds = 0.0
    time_unit: TimeUnit | None = None
    kind: Kind | None = None
    period: PositiveFloat | None = None
    physical_unit: str | None = None
    channels_first: bool | None = None


class IntervalLayout(Config):
    """One table of intervals: trials, epochs, stimuli.

    Attributes
    ----------
    table : file that holds it, such as ``trials.csv``; its columns are found by name
    start, stop : arrays of times, where names do not tell
    label : instead of times, an array with one value per row of the activity; a row of the table for each stretch of
        equal values
    columns : further columns; None takes all of the table
    events : columns that hold times of events inside a row
    """

    table: str | None = None
    start: str | None = None
    stop: str | None = None
    label: str | None = None
    columns: tuple[str, ...] | None = None
    events: tuple[str, ...] = ()


class ObservedLayout(Config):
    """When units were recorded: arrays of starts and stops, and of the unit each row speaks of (none: all units)."""

    start: str
    stop: str
    unit: str | None = None


class Layout(Config):
    """What a recording leaves unsaid; as ``recording.toml`` beside it, or as ``dataset.layout`` of a run.

    Attributes
    ----------
    spike_times, spike_units : time of every spike and its unit; without units, one array or cell per unit
    counts, rates, traces : activity that is binned or sampled already, (n_bins, n_units)
    times, bin_s, sample_hz, start_s : when its rows were taken: an array of times, or a width or rate from a start on
    time_unit : of every time in the files; ``samples`` are taken at `sample_hz`
    units_first : the activity is (n_units, n_bins)
    trial_gap_s : rows of different trials were cut and laid back to back; put this gap (s) between them
    physical_unit : of the traces
    units : arrays with one value per unit, by the column they become (``id``, ``region``, ``kind`` or any other)
    observed : when units were recorded, where not always; outside they are unknown, not silent
    span_s : first and last observed time (s), where spikes do not tell
    signals, intervals, events : behaviour and stimuli by name
    subject, species, area : for the card; the area is the region of units that have none
    groups : labels of the clusters to keep, for Phy folders
    fluorescence : which traces of suite2p and CaImAn to take
    presentation : column that numbers the presentations of a stimulus, for tables of stimulus responses
    text_rows : what one line of a text file holds: all spikes of a unit, or the time and the unit of a spike
    nwb : settings of the dataset ``nwb``; beside it an NWB file takes signals, intervals and events of other files
    """

    spike_times: Reference | None = None
    spike_units: str | None = None
    counts: Reference | None = None
    rates: Reference | None = None
    traces: Reference | None = None
    times: str | None = None
    bin_s: Rate | None = None
    sample_hz: Rate | None = None
    start_s: Seconds = 0.0
    time_unit: TimeUnit = "s"
    units_first: bool | None = None
    trial_gap_s: Rate | None = None
    physical_unit: str | None = None
    units: dict[str, str] = Field(default_factory=dict)
    observed: ObservedLayout | None = None
    span_s: tuple[Seconds, Seconds] | None = None
    signals: dict[str, SignalLayout] = Field(default_factory=dict)
    intervals: dict[str, IntervalLayout] = Field(default_factory=dict)
    events: dict[str, str] = Field(default_factory=dict)
    subject: str | None = None
    species: str | None = None
    area: str | None = None
    groups: tuple[str, ...] = ("good",)
    fluorescence: Literal["corrected", "raw", "deconvolved"] = "corrected"
    presentation: str | None = None
    text_rows: Literal["unit", "spike"] | None = None
    nwb: dict[str, Any] = Field(default_factory=dict)


class FilesConfig(Config):
    """A recording or a folder of them.

    Attributes
    ----------
    path : a file, the folder of one recording, or a folder that holds some at any depth
    format : how to read it, where its names do not tell
    layout : a table, or the name of a TOML file that holds it; wins over ``recording.toml`` beside the recording
    """

    path: Path
    format: FormatName | None = None
    layout: Layout = Layout()

    @field_validator("layout", mode="before")
    @classmethod
    def _from_file(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return parse(Layout, read_toml(Path(value).expanduser()), where=f"layout {value}")
