"""pynapple objects in, latents out as `TsdFrame` (extra ``pynapple``)."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.binned import Binned
from nldisco_core.errors import DataError, InvalidRecording, PluginLoadError
from nldisco_core.grid import to_ns
from nldisco_core.latents import Latents
from nldisco_core.session import Session
from nldisco_files.config import SignalLayout
from nldisco_files.memory import session_from_arrays

__all__ = ["latents_to_pynapple", "session_from_pynapple"]


def session_from_pynapple(
    session_id: str,
    activity: Any,
    *,
    signals: Mapping[str, Any] | None = None,
    stated: Mapping[str, SignalLayout] | None = None,
    intervals: Mapping[str, Any] | None = None,
    subject: str | None = None,
) -> Session:
    """One session of pynapple objects; its time support becomes the observed intervals of every unit.

    Parameters
    ----------
    activity : a `TsGroup` of spikes, or a `TsdFrame` of traces; metadata columns describe the units
    signals : `Tsd` or `TsdFrame` by name
    stated : kind, period or physical unit of signals, where names and values do not tell
    intervals : `IntervalSet` by name, with metadata columns

    Raises
    ------
    InvalidRecording
        The activity is neither, or breaks a rule of `Session`.
    """
    support = np.asarray(activity.time_support.values, dtype=np.float64)
    kind = type(activity).__name__
    if kind not in ("TsGroup", "TsdFrame"):
        raise InvalidRecording(f"activity is a {kind}; expected a TsGroup of spikes or a TsdFrame of traces")
    ids = list(activity.keys()) if kind == "TsGroup" else list(activity.columns)
    named: dict[str, Any] = {}
    if kind == "TsGroup":
        named["spike_times"] = {str(unit): activity[unit].t for unit in ids}
        named["span_s"] = (float(support[0, 0]), float(support[-1, 1]))
    else:
        named["traces"] = pd.DataFrame(
            np.asarray(activity.values), index=activity.t, columns=[str(unit) for unit in ids]
        )
    return session_from_arrays(
        session_id,
        **named,
        units=_metadata(activity, len(ids)),
        signals={name: _timed(held) for name, held in (signals or {}).items()},
        stated=stated,
        intervals={name: _frame(held) for name, held in (intervals or {}).items()},
        observed_s=[support] * len(ids),
        subject=subject,
    )


def latents_to_pynapple(latents: Latents, data: Binned, *, instance: int = 0, level: int = -1) -> dict[str, Any]:
    """A `TsdFrame` per session: the latents of one instance at the centres of the bins, one column per latent.

    The time support is the stretches of bins without a gap; rows that the model does not speak of are NaN.

    Raises
    ------
    DataError
        The latents are per trial, or not of these bins.
    PluginLoadError
        pynapple is not installed.
    """
    space = latents.main
    if space.row_kind != "bin" or not np.array_equal(space.row_offsets, data.row_offsets):
        raise DataError(f"latents of {space.n_rows} {space.row_kind}s for {data.n_bins} bins; expected one row per bin")
    pynapple = _pynapple()
    values = np.array(space.dense(instance, level=level), dtype=np.float64)
    if space.defined is not None:
        values[~space.defined] = np.nan
    frames = {}
    for row, session in enumerate(data.sessions):
        start_s = session.start_ns * 1e-9
        stretches = _stretches(session.start_ns, data.bin_s)
        frames[session.session_id] = pynapple.TsdFrame(
            t=start_s + data.bin_s / 2,
            d=values[data.row_offsets[row] : data.row_offsets[row + 1]],
            time_support=pynapple.IntervalSet(start=stretches[:, 0], end=stretches[:, 1]),
        )
    return frames


def _pynapple() -> Any:
    try:
        return import_module("pynapple")
    except ModuleNotFoundError as error:
        raise PluginLoadError("pynapple is not installed; pip install 'nldisco-core[pynapple]'") from error


def _stretches(start_ns: NDArray[np.int64], bin_s: float) -> NDArray[np.float64]:
    """(n_stretches, 2) start and stop (s) of the runs of bins that lie back to back."""
    breaks = np.flatnonzero(np.diff(start_ns) != to_ns(bin_s)) + 1
    first = np.concatenate([[0], breaks])
    last = np.concatenate([breaks - 1, [len(start_ns) - 1]])
    return np.column_stack([start_ns[first] * 1e-9, start_ns[last] * 1e-9 + bin_s])


def _metadata(held: Any, n_units: int) -> pd.DataFrame | None:
    frame = getattr(held, "metadata", None)
    if frame is None or len(frame) != n_units or not len(frame.columns):
        return None
    named = frame.rename(columns={"location": "region", "area": "region", "cell_type": "kind"})
    return named.loc[:, ~named.columns.duplicated()].drop(columns="id", errors="ignore").reset_index(drop=True)


def _timed(held: Any) -> tuple[NDArray[np.float64], NDArray[Any]]:
    return np.asarray(held.t, dtype=np.float64), np.asarray(held.values)


def _frame(held: Any) -> pd.DataFrame:
    return pd.DataFrame(held.as_dataframe()).rename(columns={"start": "start_s", "end": "stop_s"})
