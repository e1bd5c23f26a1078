"""Open NWB files through pynwb, with the library's own warnings kept as text."""

from __future__ import annotations

import warnings
import weakref
from dataclasses import dataclass
from pathlib import Path

from hdmf.build import ConstructError
from pynwb import NWBHDF5IO, NWBFile

from nldisco_core.errors import InvalidRecording
from nldisco_nwb.hdf5 import hdf5_file, in_one_line

__all__ = ["OpenFile", "open_file"]

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
                f"{path}: pynwb cannot read it ({in_one_line(error)}); expected a whole NWB 2 file"
            ) from error
    said = (
        f"pynwb: {in_one_line(entry.message)}" for entry in caught if not issubclass(entry.category, ResourceWarning)
    )
    opened = OpenFile(path, nwb, tuple(dict.fromkeys(said)))
    weakref.finalize(opened, reader.close)
    return opened
