"""The dataset `rat-hippocampus`: CA1 of four rats at rest, on a track, and at rest again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from nldisco_core.config import Config
from nldisco_core.errors import DatasetUnavailable, unknown_name
from nldisco_core.interfaces import DatasetCard, Progress
from nldisco_core.session import DeferredMapping, Session, Signal
from nldisco_nwb.archive_files import ArchiveFiles
from nldisco_nwb.config import NWBConfig
from nldisco_nwb.dandi import ARCHIVE
from nldisco_nwb.dataset import NWBDataset

__all__ = ["DIRECTIONS", "RatHippocampus", "RatHippocampusConfig", "running_direction"]

DIRECTIONS = ("inbound", "outbound")
"""Towards the start of the track and away from it."""

LOOK_S = 0.25  # before and after, for the direction of running
RUNNING = 0.05  # tracks per second

_NAME = re.compile(r"sub-(?P<subject>[A-Za-z0-9]+)_ses-(?P<session>[\w-]+?)(_(behavior|ecephys|image)[\w+]*)?\.nwb")
_LINEAR = re.compile(r"lineari[sz]ed|(?<!Spatial)(?<!Roi)TimeSeries$", re.IGNORECASE)
_PLANE = re.compile(r"(SpatialSeries|Position)$")


class RatHippocampusConfig(Config):
    """Which recordings, and where they are.

    Attributes
    ----------
    path : one file, or a folder that holds some; None: what ``nldisco datasets get rat-hippocampus`` put into the cache
    subject : only sessions of this rat
    archive : address of the archive's interface
    """

    path: Path | None = None
    subject: Literal["achilles", "buddy", "cicero", "gatsby"] | None = None
    archive: str = ARCHIVE


class RatHippocampus:
    """Sessions named ``<rat>-<session>``; spikes and positions are read when asked for, LFP never."""

    def __init__(self, config: RatHippocampusConfig) -> None:
        self._config = config

    def card(self) -> DatasetCard:
        """Title, species, area, licence, citation, source and settings that suit it."""
        return DatasetCard(
            title="Hippocampal CA1 of rats before, on and after a novel maze",
            species="rat (Rattus norvegicus)",
            area="hippocampal CA1, both hemispheres",
            licence="CC-BY-4.0",
            citation=(
                "Grosmark AD, Buzsáki G. Diversity in neural firing dynamics supports both rigid and learned "
                "hippocampal sequences. Science 2016;351:1440-1443, https://doi.org/10.1126/science.aad1935"
            ),
            source="DANDI 000044",
            left_out="LFP, which is never read",
            description=(
                "Hours of rest and sleep (PRE), a maze (MAZE), rest and sleep (POST). Position, linearised position "
                "and running direction on the maze; cell type per unit."
            ),
            defaults={"bin.bin_s": 0.05, "bin.epoch": "MAZE"},
        )

    def session_ids(self) -> Sequence[str]:
        """Sessions whose files are there, by their names; opens none of them."""
        return tuple(self._files.local())

    def load(self, session_id: str) -> Session:
        """One session: epochs ``PRE``, ``MAZE``, ``POST``; signals ``position``, ``linear_position`` and
        ``running_direction``, those of a second maze preceded by its name.

        Raises
        ------
        DatasetUnavailable
            The file is not there; the message says how to get it.
        InvalidRecording
            It is no NWB 2 file, has no units, or breaks a rule of `Session`.
        """
        files = self._files.local()
        if session_id not in files:
            raise DatasetUnavailable(f"rat-hippocampus: {unknown_name('session', session_id, files)}")
        path = files[session_id]
        session = NWBDataset(NWBConfig(path=path)).load(path.stem)
        units = session.units.assign(id=[f"{session_id}-{unit}" for unit in session.units["id"]])
        return replace(session, session_id=session_id, units=units, signals=_signals(session.signals))

    def fetch(self, sessions: Sequence[str] | int | None, progress: Progress) -> Sequence[Path]:
        """Download files of the dandiset into the cache; see `nldisco_core.interfaces.Downloads`."""
        return self._files.fetch(sessions, progress)

    @property
    def _files(self) -> ArchiveFiles:
        config = self._config
        return ArchiveFiles(
            name="rat-hippocampus",
            dandiset="000044",
            archive=config.archive,
            path=config.path,
            subject=config.subject,
            id_of=_session_id,
        )


def running_direction(name: str, track: Signal) -> Signal:
    """Direction of running along a track: the sign of the change from 0.25 s before to 0.25 s after.

    Not defined where the animal covers less than a twentieth of the track per second, or its position is missing.
    """
    times_s, place = track.times_s, track.values[:, 0]
    before, after = (np.searchsorted(times_s, times_s + shift).clip(0, len(times_s) - 1) for shift in (-LOOK_S, LOOK_S))
    elapsed_s = times_s[after] - times_s[before]
    speed = np.full(len(times_s), np.nan)
    near = (elapsed_s > 0) & (elapsed_s <= 4 * LOOK_S)
    np.divide(place[after] - place[before], elapsed_s, out=speed, where=near)
    length = np.ptp(place[np.isfinite(place)]) if np.isfinite(place).any() else np.nan
    codes = np.where(np.abs(speed) >= RUNNING * length, (speed > 0).astype(np.float64), np.nan)
    return Signal(
        name=name,
        times_s=times_s,
        values=np.where(np.isfinite(place), codes, np.nan),
        kind="discrete",
        categories=DIRECTIONS,
        description="outbound where the linearised position grows",
    )


def _session_id(file_name: str) -> str | None:
    matched = _NAME.fullmatch(file_name)
    if matched is None:
        return None
    subject, session = matched["subject"].lower(), matched["session"].lower()
    return session if session.startswith(f"{subject}-") else f"{subject}-{session}"


def _signals(found: Mapping[str, Signal]) -> DeferredMapping[Signal]:
    """Signals of the file under the names of this dataset; others keep theirs."""
    readers: dict[str, Callable[[], Signal]] = {}
    for new, old in _named(found):
        readers[new] = _reader(found, old, new)
        if new.endswith("linear_position"):
            direction = f"{new.removesuffix('linear_position')}running_direction"
            readers[direction] = _direction_reader(found, old, direction)
    return DeferredMapping(readers)


def _named(found: Mapping[str, Signal]) -> Iterator[tuple[str, str]]:
    taken: set[str] = set()
    for old in found:
        plain = "linear_position" if _LINEAR.search(old) else "position" if _PLANE.search(old) else old
        maze = _PLANE.sub("", _LINEAR.sub("", old)).strip("_")
        new = plain if plain not in taken else f"{maze}_{plain}"
        taken.add(new)
        yield new, old


def _reader(found: Mapping[str, Signal], old: str, new: str) -> Callable[[], Signal]:
    return lambda: replace(found[old], name=new)


def _direction_reader(found: Mapping[str, Signal], old: str, name: str) -> Callable[[], Signal]:
    return lambda: running_direction(name, found[old])
