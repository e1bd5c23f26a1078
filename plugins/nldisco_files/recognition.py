"""Which recordings lie at a path, and in which format each is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import get_args

from nldisco_core.errors import DatasetUnavailable, InvalidRecording
from nldisco_files.arrays import ARRAY_SUFFIXES
from nldisco_files.caiman import is_caiman
from nldisco_files.config import FormatName, Layout
from nldisco_files.phy import is_phy
from nldisco_files.source import file_of, files_named, references
from nldisco_files.spike_text import TEXT_SUFFIXES, is_spike_text
from nldisco_files.stimulus_responses import is_stimulus_responses
from nldisco_files.suite2p import is_suite2p

__all__ = ["LAYOUT_FILE", "find_recordings", "format_of", "layout_file"]

LAYOUT_FILE = "recording.toml"

_SUFFIXES = ARRAY_SUFFIXES | TEXT_SUFFIXES | {".nwb"}
_GENERIC = {"combined", "suite2p", "phy", "kilosort", "sorting", "sorter_output"}


def format_of(path: Path, layout: Layout) -> FormatName | None:
    """The format of a file or of one recording's folder, None where it is neither."""
    if path.is_dir():
        if is_phy(path):
            return "phy"
        if is_suite2p(path):
            return "suite2p"
        named = references(layout)
        stated = (layout.spike_times, layout.counts, layout.rates, layout.traces)
        if any(each is not None for each in stated) and all(file_of(reference)[0] is not None for reference in named):
            return "arrays"
        return "spike-text" if is_spike_text(path) else None
    suffix = path.suffix.lower()
    if suffix == ".nwb":
        return "nwb"
    if is_caiman(path):
        return "caiman"
    if is_stimulus_responses(path) and layout.counts is None and layout.rates is None and layout.traces is None:
        return "stimulus-responses"
    if suffix in TEXT_SUFFIXES:
        return "spike-text"
    return "arrays" if suffix in ARRAY_SUFFIXES else None


def layout_file(recording: Path) -> Path | None:
    """``recording.toml`` in a recording's folder or beside its file, or ``<name>.toml`` beside it; None for neither."""
    candidates = (
        (recording / LAYOUT_FILE,)
        if recording.is_dir()
        else (recording.with_suffix(".toml"), recording.parent / LAYOUT_FILE)
    )
    return next((file for file in candidates if file.is_file()), None)


def find_recordings(path: Path, layout: Layout, wanted: FormatName | None) -> dict[str, Path]:
    """Path of every recording at or below `path`, by session id: its name without ending, sorted.

    Raises
    ------
    DatasetUnavailable
        Nothing is there, or nothing that is a recording.
    InvalidRecording
        Two recordings have the same name.
    """
    if not path.exists():
        raise DatasetUnavailable(f"{path} does not exist; expected a recording or a folder of them")
    if path.is_file() or wanted not in (None, "nwb") or format_of(path, layout) is not None:
        if wanted is None and format_of(path, layout) is None:
            raise InvalidRecording(
                f"{path.name}: {path.suffix or 'a file without ending'} is none of {', '.join(sorted(_SUFFIXES))}; "
                f"say how to read it with dataset.format, one of {', '.join(get_args(FormatName))}"
            )
        return {_name(path): path}
    found = _below(path, layout)
    if not found:
        raise DatasetUnavailable(
            f"{path} holds no recording; expected a Phy or suite2p folder, or files ending in "
            f"{', '.join(sorted(_SUFFIXES))}"
        )
    names = {recording: _name(recording) for recording in found}
    repeated = [name for name, count in Counter(names.values()).items() if count > 1]
    if repeated:
        both = [str(recording.relative_to(path)) for recording in found if names[recording] == repeated[0]]
        raise InvalidRecording(f"{path.name}: {' and '.join(both)} have the same name; rename one of them")
    return {name: recording for recording, name in names.items()}


def _below(folder: Path, layout: Layout) -> list[Path]:
    combined = folder / "combined"
    if is_suite2p(combined):
        return [combined]
    found = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            found += [entry] if format_of(entry, layout) is not None else _below(entry, layout)
        elif entry.suffix.lower() in _SUFFIXES and entry.name not in files_named(layout):
            found.append(entry)
    return found


def _name(recording: Path) -> str:
    """The file's or folder's name; generic folder names and planes are told apart by the folder above."""
    if recording.is_file():
        return recording.stem
    place = recording.resolve()
    generic = place.name in _GENERIC or place.name.startswith("plane")
    parents = [parent.name for parent in place.parents if parent.name not in _GENERIC]
    return f"{parents[0]}-{place.name}" if generic and parents else place.name
