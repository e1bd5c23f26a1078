"""Activity of files without spike times: fluorescence of regions of interest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pynwb.ophys import DfOverF, RoiResponseSeries

from nldisco_core.errors import InvalidRecording, unknown_name
from nldisco_core.session import Traces
from nldisco_nwb.contents import blank, pieces, scalar_columns
from nldisco_nwb.hdf5 import naming
from nldisco_nwb.opening import OpenFile
from nldisco_nwb.sampling import has_times, sample_times, scaled

__all__ = ["NWBTraces", "roi_series", "roi_table", "roi_traces"]


@dataclass(frozen=True, kw_only=True, eq=False)
class NWBTraces(Traces):
    """Fluorescence that keeps its file open."""

    opened: OpenFile

    def values(self) -> NDArray[np.float64]:
        """(n_samples, n_units) float64, read in one go."""
        with naming(self.opened.path):
            return super().values()


def roi_series(opened: OpenFile, wanted: str | None) -> tuple[RoiResponseSeries | None, tuple[str, ...]]:
    """The series of fluorescence that is the activity, DfOverF before others, and the names of those left aside.

    Raises
    ------
    InvalidRecording
        The file has no series of the wanted name.
    """
    found = [piece for piece in pieces(opened.nwb) if isinstance(piece.item, RoiResponseSeries)]
    found.sort(key=lambda piece: not isinstance(piece.container, DfOverF))
    names = [piece.name for piece in found]
    if wanted is not None and wanted not in names:
        raise InvalidRecording(unknown_name("ROI series", wanted, names))
    if not found:
        return None, ()
    chosen = 0 if wanted is None else names.index(wanted)
    return found[chosen].item, tuple(names[:chosen] + names[chosen + 1 :])


def roi_traces(opened: OpenFile, series: RoiResponseSeries) -> NWBTraces:
    """The fluorescence as it lies in the file, (n_samples, n_units); reads its times only."""
    if not has_times(series):
        raise InvalidRecording(f"ROI series {series.name!r} has neither a rate nor a timestamp for each sample")
    source = series.data if (series.conversion, series.offset) == (1.0, 0.0) else scaled(series)
    unit = None if blank(series.unit) else str(series.unit)
    return NWBTraces(times_s=sample_times(series), source=source, physical_unit=unit, opened=opened)


def roi_table(series: RoiResponseSeries) -> pd.DataFrame:
    """One row per region of interest: id, region (of its imaging plane), kind, and what else its segmentation says."""
    rows = np.asarray(series.rois.data[:], dtype=np.int64)
    table = series.rois.table
    ids = [str(roi) for roi in np.asarray(table.id[:])[rows]]
    columns, _ = scalar_columns(table, leave=("id", "region", "kind"))
    described = {name: values[rows] for name, values in columns.items()}
    place = table.imaging_plane.location
    return pd.DataFrame({"id": ids, "region": "" if blank(place) else str(place), "kind": "", **described})
