"""The dataset of files: whatever lies at a path in one of the usual formats, a session per recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from nldisco_core.config import BinConfig, merge, parse, read_toml
from nldisco_core.errors import ConfigError, DatasetUnavailable, unknown_name
from nldisco_core.interfaces import Dataset, DatasetCard
from nldisco_core.plugins import make
from nldisco_core.recording_checks import activity_warnings
from nldisco_core.session import DeferredMapping, Session
from nldisco_files.arrays import naming
from nldisco_files.behaviour import read_events, read_signals
from nldisco_files.caiman import caiman_activity, caiman_rate
from nldisco_files.config import FilesConfig, FormatName, Layout
from nldisco_files.interval_tables import read_intervals
from nldisco_files.named_arrays import array_activity
from nldisco_files.observed import observed_intervals
from nldisco_files.parts import Activity
from nldisco_files.phy import phy_activity
from nldisco_files.recognition import find_recordings, format_of, layout_file
from nldisco_files.source import Source
from nldisco_files.spike_text import text_activity
from nldisco_files.stimulus_responses import response_activity, response_times_s
from nldisco_files.suite2p import frame_rate, suite2p_activity

__all__ = ["FilesDataset"]

_NOT_STATED = "not stated"

_BESIDE_NWB = frozenset({"nwb", "signals", "intervals", "events", "time_unit", "sample_hz"})

_ACTIVITIES: Mapping[str, Callable[[Source, Layout], Activity]] = {
    "phy": phy_activity,
    "suite2p": suite2p_activity,
    "caiman": caiman_activity,
    "stimulus-responses": response_activity,
    "spike-text": text_activity,
    "arrays": array_activity,
}


class FilesDataset:
    """Sessions of one recording or of all in a folder; a session's id is its file's or folder's name."""

    def __init__(self, config: FilesConfig) -> None:
        self._config = config

    def card(self) -> DatasetCard:
        """What the layout says of the recording, and settings that suit its format."""
        recordings = self._recordings()
        first = next(iter(recordings.values()))
        form, layout = self._format(first)
        if form == "nwb":
            return replace(_nwb(first, layout).card(), sizes={"sessions": len(recordings)})
        return DatasetCard(
            title=self._path.stem,
            species=layout.species or _NOT_STATED,
            area=layout.area or _NOT_STATED,
            licence=_NOT_STATED,
            citation=_NOT_STATED,
            source=f"files of the format {form}",
            sizes={"sessions": len(recordings)},
            defaults=_defaults(first, form, layout),
        )

    def session_ids(self) -> Sequence[str]:
        """Names of the recordings, sorted; reads none of them."""
        return tuple(self._recordings())

    def load(self, session_id: str) -> Session:
        """One session.

        Raises
        ------
        DatasetUnavailable
            The recording is not there.
        InvalidRecording
            It cannot be read, breaks a rule of `Session`, or leaves something unsaid that nothing tells; says what.
        ConfigError
            The layout has an unknown key or a value out of range.
        """
        recordings = self._recordings()
        if session_id not in recordings:
            raise DatasetUnavailable(f"{self._path}: {unknown_name('session', session_id, recordings)}")
        path = recordings[session_id]
        form, layout = self._format(path)
        if form == "nwb":
            reader = _nwb(path, layout)
            session = replace(reader.load(reader.session_ids()[0]), session_id=session_id)
            with naming(path):
                return _with_tables_beside(session, Source(path, layout), layout)
        with naming(path):
            return _session(session_id, Source(path, layout), layout, form)

    @property
    def _path(self) -> Path:
        return self._config.path.expanduser().absolute()

    def _recordings(self) -> dict[str, Path]:
        return find_recordings(self._path, self._layout(self._path), self._config.format)

    def _layout(self, recording: Path) -> Layout:
        """What lies beside the recording, and above it what the configuration states."""
        beside = layout_file(recording) or layout_file(self._path)
        below = {} if beside is None else read_toml(beside)
        above = self._config.layout.model_dump(mode="json", exclude_unset=True)
        return parse(Layout, merge(below, above), where="layout" if beside is None else f"layout ({beside.name})")

    def _format(self, recording: Path) -> tuple[FormatName, Layout]:
        layout = self._layout(recording)
        form = self._config.format or format_of(recording, layout)
        assert form is not None  # find_recordings lists what has a format
        return form, layout


def _nwb(path: Path, layout: Layout) -> Dataset:
    """The file as the dataset `nwb` reads it; `ConfigError` where the layout speaks of what only other files take."""
    unused = sorted(layout.model_fields_set - _BESIDE_NWB)
    if unused:
        raise ConfigError(f"{path.name}: an NWB file takes no layout.{', layout.'.join(unused)}; set layout.nwb.KEY")
    reader: Dataset = make("dataset", "nwb", {**layout.nwb, "path": str(path)})
    return reader


def _with_tables_beside(session: Session, source: Source, layout: Layout) -> Session:
    """An NWB session with the behaviour that its layout reads from tables beside the file, on the file's clock.

    What the layout names takes the place of what the file holds under that name; the file's own signals stay unread.
    """
    if not (layout.signals or layout.intervals or layout.events):
        return session
    rowless = Activity(units=session.units, span_s=session.span_s)
    signals, faults = read_signals(source, layout, rowless)
    tables, complaints = read_intervals(source, layout, rowless)
    events, stray = read_events(source, layout, session.span_s)
    own = {name: partial(session.signals.__getitem__, name) for name in session.signals}
    beside = {name: partial(signals.__getitem__, name) for name in signals}
    return replace(
        session,
        signals=DeferredMapping({**own, **beside}),
        intervals={**session.intervals, **tables},
        events={**session.events, **events},
        warnings=(*session.warnings, *faults, *complaints, *stray),
    )


def _session(session_id: str, source: Source, layout: Layout, form: FormatName) -> Session:
    activity = _ACTIVITIES[form](source, layout)
    signals, faults = read_signals(source, layout, activity)
    tables, complaints = read_intervals(source, layout, activity)
    events, stray = read_events(source, layout, activity.span_s)
    session = Session(
        session_id=session_id,
        span_s=activity.span_s,
        subject=layout.subject,
        units=activity.units,
        spike_times=activity.spike_times,
        traces=activity.traces,
        prebinned=activity.prebinned,
        observed_s=observed_intervals(source, layout, activity),
        signals=signals,
        intervals=tables,
        events=events,
        warnings=(*activity.warnings, *faults, *complaints, *stray),
    )
    return replace(session, warnings=(*session.warnings, *activity_warnings(session)))


def _defaults(path: Path, form: FormatName, layout: Layout) -> dict[str, Any]:
    """Settings of a run that follow from the format: bins as wide as the source's, traces z-scored."""
    width = layout.bin_s or (layout.sample_hz and 1 / layout.sample_hz) or _stated_width(path, form, layout)
    continuous = form in ("suite2p", "caiman", "stimulus-responses") or layout.traces is not None
    spiking = form in ("phy", "spike-text") or layout.spike_times is not None
    defaults: dict[str, Any] = {} if spiking or not width or _divides(width) else {"bin.bin_s": float(width)}
    if continuous:
        defaults["preprocess.normalise"] = "z-score"
    if "trials" in layout.intervals or form == "stimulus-responses":
        defaults["bin.trials"] = "trials"
    return defaults


def _divides(width: float) -> bool:
    """True where the usual bins hold a whole number of the source's."""
    usual = BinConfig().bin_s / width
    return usual > 0.5 and abs(usual - round(usual)) < 1e-6


def _stated_width(path: Path, form: FormatName, layout: Layout) -> float | None:
    if form == "stimulus-responses":
        times_s = response_times_s(path, layout)
        return float(times_s[1] - times_s[0]) if len(times_s) > 1 and times_s[1] > times_s[0] else None
    rates: Mapping[str, Callable[[], float | None]] = {
        "suite2p": partial(frame_rate, path),
        "caiman": partial(caiman_rate, path),
    }
    rate_hz = rates[form]() if form in rates else None
    return None if rate_hz is None else 1 / rate_hz
