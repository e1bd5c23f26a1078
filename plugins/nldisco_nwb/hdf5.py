"""Open HDF5 files: one clear line for what cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from nldisco_core.errors import DatasetUnavailable, InvalidRecording

__all__ = ["hdf5_file", "in_one_line", "naming"]


def hdf5_file(path: Path) -> h5py.File:
    """The HDF5 file behind an NWB 2 file, open for reading; raises as `open_file` does."""
    if not path.is_file():
        raise DatasetUnavailable(f"{path} does not exist; expected an NWB file")
    try:
        file = h5py.File(path, "r")
    except PermissionError as error:
        raise DatasetUnavailable(f"{path} may not be read; change its permissions") from error
    except OSError as error:
        raise InvalidRecording(
            f"{path} is not an NWB file, or is truncated: HDF5 says {in_one_line(error)!r}; expected an NWB 2 file"
        ) from error
    version = str(file.attrs.get("nwb_version", "nwb_version" in file and "1"))
    if version.startswith("2"):
        return file
    file.close()
    if version == "False":
        raise InvalidRecording(f"{path} is an HDF5 file without an NWB version; expected an NWB 2 file")
    raise InvalidRecording(f"{path} is NWB {version}; expected NWB 2: convert it with the source's own tools")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the file's name before what goes wrong inside, also when its bytes cannot be read."""
    try:
        yield
    except InvalidRecording as error:
        raise InvalidRecording(f"{path.name}: {error}") from error
    except OSError as error:
        raise InvalidRecording(
            f"{path.name}: cannot be read ({in_one_line(error)}); the file may be damaged"
        ) from error


def in_one_line(error: object) -> str:
    """A message of a library without line breaks, and not too long."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:297]}..."
