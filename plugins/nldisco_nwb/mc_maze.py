"""The dataset `mc-maze`: reaches through mazes, from files of the archive, of the benchmark or of brainsets."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path

import h5py

from nldisco_core.errors import DatasetUnavailable, InvalidRecording, unknown_name
from nldisco_core.interfaces import DatasetCard, Progress
from nldisco_core.session import Session
from nldisco_nwb.archive_files import ArchiveFiles
from nldisco_nwb.dandi import Asset, remote_file
from nldisco_nwb.hdf5 import hdf5_file, in_one_line, naming
from nldisco_nwb.maze_conditions import Numbering, number_conditions
from nldisco_nwb.maze_config import MCMazeConfig
from nldisco_nwb.maze_file import MazeFile, read_brainsets, read_nwb
from nldisco_nwb.maze_session import maze_session, prepare
from nldisco_nwb.maze_trials import MazeTrials, read_trials

__all__ = ["MCMaze"]

logger = logging.getLogger(__name__)

TUTORIAL = {
    "jenkins": ("20090912", "20090916", "20090918", "20090923"),
    "nitschke": ("20090812", "20090819", "20090910"),
}
"""Sessions of 000070 that the public tutorial uses."""

_BENCHMARK = {"000128": "full", "000138": "large", "000139": "medium", "000140": "small"}
_NWB_NAME = re.compile(
    r"sub-(?P<subject>\w+?)_ses-(?P<session>[\w]+?)(_desc-(?P<part>\w+?))?(_[\w+]*)?\.nwb", re.IGNORECASE
)
_BRAINSETS_NAME = re.compile(r"(?P<subject>\w+?)_(?P<session>\d{8})_(center_out_reaching|maze)\.h5", re.IGNORECASE)

_CITATION = (
    "Churchland MM, Cunningham JP, Kaufman MT, Foster JD, Nuyujukian P, Ryu SI, Shenoy KV. Neural population dynamics "
    "during reaching. Nature 2012;487:51-56, https://doi.org/10.1038/nature11129"
)


@dataclass(frozen=True, kw_only=True)
class _Found:
    """One session: its subject, and how its file is opened."""

    subject: str
    path: Path
    open: Callable[[], h5py.File]
    read: Callable[[Path, h5py.File], MazeFile]
    trials: str


class MCMaze:
    """Sessions of MC_Maze, named ``<subject>-<session>``, in the benchmark ``<subject>-<version>-<train or test>``.

    Loading reads the trial and unit tables; spikes and behaviour are read when asked for, LFP never. The conditions are
    numbered alike over all sessions that the settings choose, so loading one looks at the trials of all.
    """

    def __init__(self, config: MCMazeConfig) -> None:
        self._config = config

    def card(self) -> DatasetCard:
        """Title, species, area, licence, citation, source and settings that suit it."""
        dandiset = self._config.dandiset
        version = _BENCHMARK.get(dandiset)
        benchmark = "" if version is None else f", {version} version of the Neural Latents Benchmark"
        return DatasetCard(
            title=f"MC_Maze: neural population dynamics during reaching{benchmark}",
            species="macaque (Macaca mulatta)",
            area="primary motor (M1) and dorsal premotor cortex (PMd), two 96-channel Utah arrays",
            licence="CC-BY-4.0",
            citation=_CITATION,
            source=f"DANDI {dandiset}",
            left_out="LFP, which is never read; frame details of the screen",
            description=(
                "Delayed reaches around barriers. Trials with target on, go cue, begin and end of the movement, maze "
                "condition (three versions of each maze), barriers, targets and hit position; hand, cursor and eye at "
                "1 kHz (mm)."
            ),
            defaults={"bin.bin_s": 0.05, "bin.trials": "trials", "bin.only_trials": True},
        )

    def session_ids(self) -> Sequence[str]:
        """Sessions whose files are there, by their names; opens none of them."""
        return tuple(self._found)

    def load(self, session_id: str) -> Session:
        """One session with its trials cleaned; `Session.warnings` counts what each step dropped.

        Signals: ``hand``, ``cursor`` and ``eye`` (mm), ``hand_velocity``, ``hand_speed`` (mm/s), ``hand_acceleration``,
        ``hand_acceleration_magnitude`` (mm/s²), ``movement_angle`` (deg).

        Raises
        ------
        DatasetUnavailable
            The file is not there; the message says how to get it.
        InvalidRecording
            It is no recording of MC_Maze, is damaged, or cleaning leaves no trial.
        """
        if session_id not in self._found:
            raise DatasetUnavailable(f"mc-maze: {unknown_name('session', session_id, self._found)}")
        found = self._found[session_id]
        with naming(found.path):
            opened = found.open()
            file = found.read(found.path, opened)
            return maze_session(
                session_id,
                file,
                prepare(file.trials, self._config.cleaning),
                self._numbering.number.get(session_id, {}),
                subject=found.subject,
                start=_start(opened),
                notes=self._numbering.notes.get(session_id, ()),
            )

    def fetch(self, sessions: Sequence[str] | int | None, progress: Progress) -> Sequence[Path]:
        """Download files of the dandiset into the cache: those named, the first so many, or the tutorial's.

        Raises
        ------
        DatasetUnavailable
            The archive cannot be reached, lacks a session, or a file does not arrive whole.
        """
        return self._files.fetch(sessions, progress)

    @property
    def _files(self) -> ArchiveFiles:
        config = self._config
        usual = tuple(
            f"{subject}-{session}"
            for subject, sessions in TUTORIAL.items()
            for session in sessions
            if config.subject in (None, subject) and config.dandiset == "000070"
        )
        return ArchiveFiles(
            name="mc-maze",
            options="" if config.dandiset == "000070" else f" --set dataset.dandiset={config.dandiset}",
            dandiset=config.dandiset,
            archive=config.archive,
            path=config.path,
            subject=config.subject,
            id_of=_session_id,
            usual=usual,
        )

    @cached_property
    def _found(self) -> Mapping[str, _Found]:
        if self._config.stream:
            return {name: _remote(name, asset) for name, asset in self._files.remote(None).items()}
        return {name: _local(name, path) for name, path in self._files.local().items()}

    @cached_property
    def _numbering(self) -> Numbering:
        sessions: dict[str, MazeTrials] = {}
        for session_id, found in self._found.items():
            try:
                with naming(found.path), closing(found.open()) as file:
                    if found.trials in file:
                        sessions[session_id] = prepare(read_trials(file[found.trials]), self._config.cleaning).trials
            except InvalidRecording as error:  # of another session: this one is read without it
                logger.warning("left out of the common numbering of conditions: %s", error)
        return number_conditions(sessions)


def _session_id(file_name: str) -> str | None:
    matched = _NWB_NAME.fullmatch(file_name) or _BRAINSETS_NAME.fullmatch(file_name)
    if matched is None:
        return None
    groups = matched.groupdict()
    parts = (groups["subject"], groups["session"], groups.get("part"))
    return "-".join(part.lower() for part in parts if part)


def _local(session_id: str, path: Path) -> _Found:
    of_brainsets = path.suffix == ".h5"
    return _Found(
        subject=session_id.split("-")[0],
        path=path,
        open=partial(_brainsets_file if of_brainsets else hdf5_file, path),
        read=read_brainsets if of_brainsets else read_nwb,
        trials="trials" if of_brainsets else "intervals/trials",
    )


def _remote(session_id: str, asset: Asset) -> _Found:
    return _Found(
        subject=session_id.split("-")[0],
        path=Path(asset.path),
        open=partial(remote_file, asset),
        read=read_nwb,
        trials="intervals/trials",
    )


def _brainsets_file(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InvalidRecording(f"is no HDF5 file, or is truncated: {in_one_line(error)}") from error


def _start(file: h5py.File) -> datetime | None:
    source = file.get("session_start_time")
    if not isinstance(source, h5py.Dataset):
        return None
    try:
        return datetime.fromisoformat(source.asstr()[()])
    except (ValueError, TypeError):
        return None
