"""The named arrays of a file: .npz, .npy, .mat (all versions), .h5, CSV, TSV and Parquet, read when asked for."""

from __future__ import annotations

import csv
import pickle
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import scipy.io
from numpy.typing import NDArray

from nldisco_core.errors import DatasetUnavailable, InvalidRecording
from nldisco_core.session import DeferredMapping

__all__ = ["ARRAY_SUFFIXES", "hdf5_arrays", "naming", "numbers", "read_arrays", "reading", "texts"]

Array: TypeAlias = NDArray[Any]
Readers: TypeAlias = dict[str, Callable[[], Array]]

# what numpy, scipy, h5py, pandas and pyarrow were seen to raise on damaged files, caught around their calls alone
_UNREADABLE = (
    *(OSError, ValueError, TypeError, LookupError, AttributeError, NameError, ImportError, EOFError, RuntimeError),
    *(
        ArithmeticError,
        MemoryError,
        SyntaxError,
        tokenize.TokenError,
        zipfile.BadZipFile,
        zlib.error,
        pickle.UnpicklingError,
    ),
    *(pd.errors.ParserError, pyarrow.ArrowException, scipy.io.matlab.MatReadError),
)


def read_arrays(path: Path) -> Mapping[str, Array]:
    """The arrays of a file by name; a table's are its columns, a .npy file's only one is named after the file.

    Fields of MATLAB structs are named ``struct.field``, arrays in HDF5 groups ``group/name``.

    Raises
    ------
    DatasetUnavailable
        The file does not exist or may not be read.
    InvalidRecording
        It cannot be read as what its name says; the same when a damaged array is asked for.
    """
    if not path.is_file():
        raise DatasetUnavailable(f"{path} does not exist; expected a file")
    with reading(path):
        readers = _READERS[path.suffix.lower()](path)
    return DeferredMapping({name: partial(_read, path, name, reader) for name, reader in readers.items()})


@contextmanager
def naming(path: Path, what: str = "") -> Iterator[None]:
    """Put the file's name before whatever is stated to be wrong inside."""
    try:
        yield
    except InvalidRecording as error:
        if str(error).startswith(path.name):
            raise
        raise InvalidRecording(f"{path.name}: {what}{error}") from error


@contextmanager
def reading(path: Path, what: str = "") -> Iterator[None]:
    """State whatever a library raises on a damaged file as one line with the file's name.

    Raises
    ------
    DatasetUnavailable
        The file may not be read.
    InvalidRecording
        It is damaged, or not what its name says.
    """
    where = f"{path.name}: {what}"
    with naming(path, what):
        try:
            yield
        except PermissionError as error:
            raise DatasetUnavailable(f"{path} may not be read; change its permissions") from error
        except UnicodeDecodeError as error:
            raise InvalidRecording(f"{where}text that is not UTF-8 ({error.reason}); save it as UTF-8") from error
        except _UNREADABLE as error:
            said = " ".join(str(error).split())[:200] or type(error).__name__
            raise InvalidRecording(
                f"{where}cannot be read ({said}); it is damaged or not what its name says"
            ) from error


def numbers(values: Array, name: str) -> NDArray[np.float64]:
    """An array as float64; truth values become 0 and 1, texts that are numbers become these, empty ones NaN.

    Raises
    ------
    InvalidRecording
        It holds anything else; names the array, the row and what is there.
    """
    values = np.asarray(values)
    if values.dtype.kind in "biuf":
        return values.astype(np.float64, copy=False)
    if values.dtype.kind not in "OSUT" or values.ndim > 1:
        raise InvalidRecording(f"{name} holds {values.dtype} of shape {values.shape}; expected numbers")
    said = pd.Series([value.decode() if isinstance(value, bytes) else value for value in values], dtype=object)
    read = pd.to_numeric(said, errors="coerce")
    wrong = np.flatnonzero(read.isna() & said.notna() & (said.astype(str).str.strip() != ""))
    if len(wrong):
        row = int(wrong[0])
        raise InvalidRecording(f"{name} holds {str(said.iloc[row])[:40]!r} at row {row}; expected numbers")
    return np.asarray(read, dtype=np.float64)


def texts(values: Array) -> list[str]:
    """Labels as text: whole numbers without a point, missing ones empty."""
    said = [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in np.ravel(values)]
    return [
        f"{value:.12g}" if isinstance(value, float | np.floating) and value == value else _text(value) for value in said
    ]


def _text(value: object) -> str:
    return "" if value is None or value is pd.NA or value != value else str(value).strip()


def hdf5_arrays(path: Path, *, matlab: bool = False) -> Readers:
    """Readers of every dataset of an HDF5 file; MATLAB's are turned back to its own order of axes."""
    names: list[str] = []
    with h5py.File(path, "r") as file:
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    joined = "." if matlab else "/"
    kept = [name for name in names if not name.startswith("#")]
    return {name.replace("/", joined): partial(_hdf5_array, path, name, matlab) for name in kept}


def _hdf5_array(path: Path, name: str, matlab: bool) -> Array:
    with h5py.File(path, "r") as file:
        return _hdf5_values(file, file[name], matlab)


def _hdf5_values(file: h5py.File, item: h5py.Dataset, matlab: bool) -> Array:
    if h5py.check_string_dtype(item.dtype) is not None:
        return np.asarray(item.asstr()[()], dtype=object)
    if h5py.check_ref_dtype(item.dtype) is not None:
        cells = [_hdf5_values(file, file[reference], matlab) for reference in np.ravel(item[()])]
        return _ragged(cells)
    values = np.asarray(item[()])
    if not matlab:
        return values
    if item.attrs.get("MATLAB_class") == b"char":
        return np.asarray("".join(map(chr, values.T.ravel())), dtype=object)
    return np.squeeze(values.T)


def _ragged(cells: list[Array]) -> Array:
    ragged = np.empty(len(cells), dtype=object)
    for row, cell in enumerate(cells):
        ragged[row] = cell.item() if cell.ndim == 0 else cell
    return ragged


def _read(path: Path, name: str, reader: Callable[[], Array]) -> Array:
    with reading(path, f"{name}: "):
        return reader()


def _npz(path: Path) -> Readers:
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        return {name: partial(_npz_array, path, name) for name in file.files}


def _npz_array(path: Path, name: str) -> Array:
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        return np.asarray(file[name])


def _npy(path: Path) -> Readers:
    values = np.load(path, allow_pickle=False, mmap_mode="r")
    return {path.stem: lambda: values}


def _mat(path: Path) -> Readers:
    if h5py.is_hdf5(path):
        return hdf5_arrays(path, matlab=True)
    found = scipy.io.loadmat(path, simplify_cells=True)
    arrays = dict(_flattened({name: value for name, value in found.items() if not name.startswith("__")}))
    return {name: partial(_given, value) for name, value in arrays.items()}


def _flattened(held: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Array]]:
    for name, value in held.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{prefix}{name}.")
        else:
            ragged = isinstance(value, list) or getattr(getattr(value, "dtype", None), "kind", "") == "O"
            yield f"{prefix}{name}", _ragged([np.asarray(cell) for cell in value]) if ragged else np.asarray(value)


def _given(values: Array) -> Array:
    return values


def _delimited(path: Path, separator: str) -> Readers:
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file, delimiter=separator), [])
    names = [name.strip() for name in header]
    if not any(names):
        raise InvalidRecording("is empty; expected a header and rows")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InvalidRecording(f"column {', '.join(map(repr, repeated))} occurs more than once; rename it")

    @cache
    def table() -> pd.DataFrame:
        return pd.read_csv(path, sep=separator, encoding="utf-8-sig", header=0, names=names, index_col=False)

    return {name: partial(lambda column: table()[column].to_numpy(), name) for name in names}


def _parquet(path: Path) -> Readers:
    names = list(pyarrow.parquet.read_schema(path).names)
    return {name: partial(_parquet_column, path, name) for name in names}


def _parquet_column(path: Path, name: str) -> Array:
    column = pyarrow.parquet.read_table(path, columns=[name]).column(name)
    values: Array = column.to_pandas().to_numpy()
    return values


_READERS: dict[str, Callable[[Path], Readers]] = {
    ".npz": _npz,
    ".npy": _npy,
    ".mat": _mat,
    ".h5": hdf5_arrays,
    ".hdf5": hdf5_arrays,
    ".csv": partial(_delimited, separator=","),
    ".tsv": partial(_delimited, separator="\t"),
    ".parquet": _parquet,
}
ARRAY_SUFFIXES = frozenset(_READERS)
"""What a file that holds named arrays ends with."""
