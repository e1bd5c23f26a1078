"""The dataset of NWB 2 files: one file or a folder of them, a session each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from nldisco_core.errors import DatasetUnavailable, InvalidRecording, unknown_name
from nldisco_core.interfaces import DatasetCard
from nldisco_core.session import IntervalTable, Session, SpikeTrains, Traces
from nldisco_nwb.config import NWBConfig
from nldisco_nwb.contents import blank
from nldisco_nwb.fluorescence import roi_series, roi_table, roi_traces
from nldisco_nwb.hdf5 import hdf5_file, naming
from nldisco_nwb.intervals import event_times, interval_tables
from nldisco_nwb.opening import OpenFile, open_file
from nldisco_nwb.signals import find_signals
from nldisco_nwb.trains import spike_bounds
from nldisco_nwb.units import has_spikes, observed_intervals, spike_trains, unit_table

__all__ = ["NWBDataset"]

_NOT_STATED = "not stated"


class NWBDataset:
    """Sessions of one NWB 2 file or of all in a folder; a session's id is its file's name without ``.nwb``.

    Loading reads tables and times, no spikes, signals or raw data: those stay on disk until asked for, and the file
    stays open while the session is in use.
    """

    def __init__(self, config: NWBConfig) -> None:
        self._config = config

    def card(self) -> DatasetCard:
        """What the first file says of itself, and how many sessions there are."""
        files = self._files()
        with hdf5_file(next(iter(files.values()))) as file:
            origin = filter(None, (_text(file, "general/institution"), _text(file, "general/lab")))
            return DatasetCard(
                title=self._path.stem,
                species=self._config.species or _text(file, "general/subject/species") or _NOT_STATED,
                area=_areas(file) or _NOT_STATED,
                licence=_NOT_STATED,
                citation=_text(file, "general/related_publications") or _NOT_STATED,
                source=", ".join(origin) or _NOT_STATED,
                description=_text(file, "session_description"),
                sizes={"sessions": len(files)},
            )

    def session_ids(self) -> Sequence[str]:
        """Names of the files without ``.nwb``, sorted; opens none of them."""
        return tuple(self._files())

    def load(self, session_id: str) -> Session:
        """One session, with its arrays still on disk.

        Raises
        ------
        DatasetUnavailable
            The file is not there.
        InvalidRecording
            It is no NWB 2 file, has no units, or breaks a rule of `Session`.
        ConfigError
            The settings speak of a signal that the file does not hold.
        """
        files = self._files()
        if session_id not in files:
            raise DatasetUnavailable(f"{self._path}: {unknown_name('session', session_id, files)}")
        opened = open_file(files[session_id])
        with naming(opened.path):
            return self._session(session_id, opened)

    @property
    def _path(self) -> Path:
        return self._config.path.expanduser()

    def _files(self) -> Mapping[str, Path]:
        if self._path.is_dir():
            found = sorted(self._path.rglob("*.nwb"))
            if not found:
                raise DatasetUnavailable(f"{self._path} holds no .nwb file; give a file, or a folder that holds some")
            files = {file.stem: file for file in found}
            if len(files) < len(found):
                twice = next(file for file in found if files[file.stem] != file)
                raise InvalidRecording(f"{twice} and {files[twice.stem]} have the same name; rename one of them")
            return files
        if not self._path.is_file():
            raise DatasetUnavailable(f"{self._path} does not exist; expected an NWB file or a folder of them")
        return {self._path.stem: self._path}

    def _session(self, session_id: str, opened: OpenFile) -> Session:
        tables, complaints = interval_tables(opened)
        activity, notes = self._activity(opened)
        span_s = _span(activity, tables)
        signals, faults = find_signals(opened, self._config, span_s)
        subject = opened.nwb.subject
        return Session(
            session_id=session_id,
            span_s=span_s,
            subject=None if subject is None or blank(subject.subject_id) else str(subject.subject_id),
            start=opened.nwb.session_start_time,
            intervals=tables,
            events=event_times(opened),
            signals=signals,
            warnings=(*opened.warnings, *complaints, *notes, *faults),
            **activity,
        )

    def _activity(self, opened: OpenFile) -> tuple[dict[str, Any], tuple[str, ...]]:
        if has_spikes(opened):
            units = unit_table(opened, self._config)
            return {"units": units, "spike_times": spike_trains(opened), "observed_s": observed_intervals(opened)}, ()
        series, others = roi_series(opened, self._config.roi_series)
        if series is None:
            raise InvalidRecording("has no units; expected a unit table with spike times, or fluorescence of ROIs")
        aside = f"activity is {series.name!r}; left aside: {', '.join(others)} (choose with roi_series)"
        return {"units": roi_table(series), "traces": roi_traces(opened, series)}, (aside,) if others else ()


def _span(activity: Mapping[str, Any], tables: Mapping[str, IntervalTable]) -> tuple[float, float]:
    """First and last time (s) at which units are known to be observed: stated intervals, spikes, trials and epochs."""
    times = [tables[name].bounds_s.ravel() for name in ("epochs", "trials") if name in tables]
    trains: SpikeTrains | None = activity.get("spike_times")
    traces: Traces | None = activity.get("traces")
    if trains is not None:
        times.append(spike_bounds(trains))
    elif traces is not None:
        times = [traces.times_s[[0, -1]]]
    times += [rows[np.isfinite(rows)] for rows in activity.get("observed_s") or ()]
    known = np.concatenate([np.empty(0), *times])
    if not len(known):
        raise InvalidRecording("no spike, epoch or trial has a finite time; nothing to analyse")
    return float(known.min()), float(known.max())


def _text(file: h5py.File, name: str) -> str:
    if name not in file:
        return ""
    values = np.atleast_1d(file[name].asstr()[()])
    return "; ".join(str(value) for value in values if not blank(value))


def _areas(file: h5py.File) -> str:
    for name in ("general/extracellular_ephys/electrodes/location", "units/location"):
        if name in file:
            places = pd.unique(pd.Series(file[name].asstr()[:], dtype=object))
            known = [place for place in places if not blank(place)]
            if known:
                return ", ".join(known)
    return ""
