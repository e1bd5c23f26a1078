"""Kilosort and Phy folders: spike times in samples, clusters, and what a person said of each cluster."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.errors import InvalidRecording
from nldisco_files.arrays import naming, numbers, read_arrays, reading, texts
from nldisco_files.config import Layout
from nldisco_files.parts import Activity, by_unit, spiking, unit_table
from nldisco_files.source import Source

__all__ = ["is_phy", "phy_activity"]

_TABLES = ("cluster_info.tsv", "cluster_group.tsv", "cluster_KSLabel.tsv")
_REGIONS = ("region", "brain_area", "brain_region", "area", "location")
_LEFT_OUT = ("id", "cluster_id", "n_spikes", "group", "KSLabel", *_REGIONS)


def is_phy(path: Path) -> bool:
    """True for a folder with spike times and clusters (or templates)."""
    return (path / "spike_times.npy").is_file() and any(map(Path.is_file, _cluster_files(path)))


def phy_activity(source: Source, layout: Layout) -> Activity:
    """Spikes of the clusters labelled as `layout.groups` says, from the start of the recording to the last spike.

    Labels are those of people (``group``), else Kilosort's (``KSLabel``); without any, all clusters are taken, with a
    warning. ``params.py`` is read as text, never run.

    Raises
    ------
    InvalidRecording
        A file is damaged, sizes disagree, there is no sampling rate, or no cluster has one of the labels.
    """
    folder = source.path
    samples = _column(folder / "spike_times.npy")
    whose = _column(next(file for file in _cluster_files(folder) if file.is_file()))
    if len(samples) != len(whose):
        raise InvalidRecording(
            f"{folder.name}: {len(samples)} spike times for {len(whose)} spike clusters; expected as many"
        )
    if (whose != np.rint(whose)).any() or not np.isfinite(whose).all():
        raise InvalidRecording(f"{folder.name}: spike_clusters.npy holds values that are no cluster numbers")
    rate_hz = layout.sample_hz or _sampling_rate(folder)
    table, labels = _described(folder)
    clusters, samples_of = by_unit(samples, whose.astype(np.int64))
    kept, warnings = _kept(clusters, labels, layout.groups, folder.name)
    trains = [samples_of[row] / rate_hz for row in np.flatnonzero(kept)]
    ids = [str(cluster) for cluster in clusters[kept]]
    with naming(folder):
        units = unit_table(ids, _columns(table, labels, clusters[kept]), area=layout.area)
        found = spiking(units, trains, span_s=layout.span_s or _from_zero(trains), warnings=warnings)
    return found


def _cluster_files(folder: Path) -> tuple[Path, Path]:
    return folder / "spike_clusters.npy", folder / "spike_templates.npy"


def _column(path: Path) -> NDArray[np.float64]:
    with naming(path):
        (values,) = read_arrays(path).values()
        return np.ravel(numbers(values, "the array"))


def _from_zero(trains: list[NDArray[np.float64]]) -> tuple[float, float] | None:
    """From the first sample on: silence before the first spike was recorded; None where no spike has a time."""
    last = max((float(train[np.isfinite(train)].max(initial=0.0)) for train in trains), default=0.0)
    return (0.0, last) if last > 0 else None


def _sampling_rate(folder: Path) -> float:
    stated = folder / "params.py"
    if not stated.is_file():
        raise InvalidRecording(f"{folder.name}: has no params.py; set layout.sample_hz")
    with reading(stated):
        try:
            tree = ast.parse(stated.read_text(encoding="utf-8"))
        except SyntaxError as error:
            raise InvalidRecording(f"line {error.lineno} is no Python; set layout.sample_hz") from error
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "sample_rate" for target in node.targets):
            value = node.value.value if isinstance(node.value, ast.Constant) else None
            if isinstance(value, int | float) and value > 0:
                return float(value)
    raise InvalidRecording(f"{folder.name}: params.py states no sample_rate above 0; set layout.sample_hz")


def _described(folder: Path) -> tuple[pd.DataFrame, Mapping[int, str]]:
    """Every column said of clusters, one row per cluster, and the label of each."""
    table = pd.DataFrame()
    for name in _TABLES:
        if (folder / name).is_file():
            table = table.combine_first(_cluster_table(folder / name))
    for column in ("group", "KSLabel"):
        if column in table and (said := table[column].dropna().astype(str).str.strip().str.lower()).ne("").any():
            return table, said.to_dict()
    return table, {}


def _cluster_table(path: Path) -> pd.DataFrame:
    with naming(path):
        frame = pd.DataFrame(dict(read_arrays(path)))
        key = next((name for name in ("cluster_id", "id") if name in frame), None)
        if key is None:
            raise InvalidRecording(f"has no column cluster_id; it has {', '.join(frame.columns)}")
        number = numbers(frame[key].to_numpy(), f"column {key!r}")
        if not np.isfinite(number).all() or len(np.unique(number)) < len(number):
            raise InvalidRecording(f"column {key!r} holds a cluster twice or none; expected each once")
        return frame.set_index(number.astype(np.int64))


def _kept(
    clusters: NDArray[np.int64], labels: Mapping[int, str], groups: tuple[str, ...], folder: str
) -> tuple[NDArray[np.bool_], list[str]]:
    if not labels:
        return np.ones(len(clusters), dtype=bool), ["no cluster has a label; all are taken, noise included"]
    said = np.array([labels.get(int(cluster), "unsorted") for cluster in clusters], dtype=object)
    kept = np.isin(said, [group.lower() for group in groups])
    names, counts = np.unique(said[~kept].astype(str), return_counts=True)
    others = ", ".join(f"{count} {name}" for name, count in zip(names, counts, strict=True))
    if not kept.any():
        raise InvalidRecording(f"{folder}: no cluster is {' or '.join(groups)}; there are {others}: set layout.groups")
    return kept, [f"clusters left out: {others} (choose with layout.groups)"] if others else []


def _columns(table: pd.DataFrame, labels: Mapping[int, str], clusters: NDArray[np.int64]) -> dict[str, Any]:
    rows = table.reindex(clusters)
    columns: dict[str, Any] = {"kind": [labels.get(int(cluster), "") for cluster in clusters]}
    region = next((name for name in _REGIONS if name in rows), None)
    if region is not None:
        columns["region"] = texts(rows[region].to_numpy())
    return columns | {name: rows[name].to_numpy() for name in rows.columns if name not in _LEFT_OUT}
