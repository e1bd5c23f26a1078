"""Open NWB files: one clear line for what cannot be read, and the library's own warnings kept as text."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
from hdmf.build import ConstructError
from pynwb import NWBHDF5IO, NWBFile

from nldisco_core.errors import DatasetUnavailable, InvalidRecording

__all__ = ["OpenFile", "hdf5_file", "naming", "open_file"]

# what pynwb and hdmf were seen to raise on HDF5 files that are not whole NWB files
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, ConstructError)


@dataclass(frozen=True, eq=False)
class OpenFile:
    """An NWB file whose arrays stay on disk; it is closed when nothing refers to this object any more.

    Attributes
    ----------
    path : where it lies
    nwb : its contents, as pynwb gives them
    warnings : what pynwb said while opening it
    """

    path: Path
    nwb: NWBFile
    warnings: tuple[str, ...]


def open_file(path: Path) -> OpenFile:
    """Open one NWB 2 file without reading its arrays.

    Raises
    ------
    DatasetUnavailable
        The file does not exist or may not be read.
    InvalidRecording
        It is no HDF5 file, is truncated, or is no NWB 2 file.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        hdf5 = hdf5_file(path)
        try:
            reader = NWBHDF5IO(file=hdf5, mode="r", load_namespaces=True)
            nwb = reader.read()
        except _UNREADABLE as error:
            hdf5.close()
            raise InvalidRecording(
                f"{path}: pynwb cannot read it ({_line(error)}); expected a whole NWB 2 file"
            ) from error
    said = (f"pynwb: {_line(entry.message)}" for entry in caught if not issubclass(entry.category, ResourceWarning))
    opened = OpenFile(path, nwb, tuple(dict.fromkeys(said)))
    weakref.finalize(opened, reader.close)
    return opened


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
            f"{path} is not an NWB file, or is truncated: HDF5 says {_line(error)!r}; expected an NWB 2 file"
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
        raise InvalidRecording(f"{path.name}: cannot be read ({_line(error)}); the file may be damaged") from error


def _line(error: object) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:297]}..."
