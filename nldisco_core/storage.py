"""Folders, JSON and tables of a run: written whole or not at all, and read with one clear error where damaged."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from nldisco_core.errors import RunError, SchemaTooNew

__all__ = [
    "SCHEMA_VERSION",
    "read_json",
    "read_npy",
    "read_npz",
    "read_table",
    "reading",
    "whole_folder",
    "write_json",
    "write_table",
    "writing_failed",
]

SCHEMA_VERSION = 1

T = TypeVar("T")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of `folder` only when everything in it was written.

    Raises
    ------
    RunError
        The disk is full or cannot be written to; nothing is left behind.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        old = folder.with_name(f"{folder.name}.old")
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise writing_failed(folder, error) from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def writing_failed(folder: Path, error: OSError) -> RunError:
    """The stated problem behind a failed write."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(f"the disk is full: {folder} was not written; free space or choose another --runs-dir")
    if error.errno is None or error.errno == errno.EFBIG:  # numpy reports a short write without a number
        return RunError(f"{folder} was not written whole ({error}): the disk is full, or a quota was reached")
    return RunError(f"cannot write {error.filename or folder}: {error.strerror or error}; choose another --runs-dir")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON so that a reader sees the old or the new file, never a part."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", encoding="utf-8") as stream:
        json.dump(content, stream, indent=2, allow_nan=True)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file of ours; `SchemaTooNew` where a later version wrote it, `RunError` where it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path} is missing; the run is damaged or was not finished") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise RunError(f"{path} does not hold a JSON object")
    version = content.get("schema_version", SCHEMA_VERSION)
    if not isinstance(version, int):
        raise RunError(f"{path} states schema_version {version!r}; expected a number: the file is damaged")
    if version > SCHEMA_VERSION:
        raise SchemaTooNew(
            f"{path} has schema {version}; this version reads up to {SCHEMA_VERSION}: update nldisco-core"
        )
    return content


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Write a table as Parquet; columns of mixed Python objects become text."""
    flat = frame.copy()
    for column in flat.columns:
        if pd.api.types.is_object_dtype(flat[column]):
            flat[column] = flat[column].map(str)
    flat.to_parquet(path, index=False)


def read_table(path: Path) -> pd.DataFrame:
    """Read a Parquet table; `RunError` where it is missing or damaged."""
    frame: pd.DataFrame = reading(path, lambda: pd.read_parquet(path))
    return frame


def reading(path: Path, read: Callable[[], T]) -> T:
    """What `read` gives; `RunError` that names `path` where that is missing or damaged."""
    try:
        return read()
    except FileNotFoundError as error:
        raise RunError(f"{error.filename or path} is missing; the run is damaged") from None
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile, pa.ArrowException) as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def read_npy(path: Path) -> NDArray[Any]:
    """An array, memory-mapped."""
    return reading(path, lambda: open_memmap(path, mode="r"))


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays by name."""
    with path.open("rb") as stream, np.load(stream) as arrays:  # numpy leaves a damaged file open that it opened itself
        return dict(arrays)
