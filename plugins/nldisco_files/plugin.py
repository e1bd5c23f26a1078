"""What this plugin offers."""

from __future__ import annotations

from collections.abc import Iterator

from nldisco_core.hookspecs import hookimpl
from nldisco_core.providers import Provider


@hookimpl
def nldisco_datasets() -> Iterator[Provider]:
    """Whatever lies on disk in one of the usual formats."""
    yield Provider(
        name="files",
        target="nldisco_files.dataset:FilesDataset",
        config="nldisco_files.config:FilesConfig",
        summary="NWB, Kilosort/Phy, suite2p, CaImAn, .npz, .npy, .mat, .h5, CSV, Parquet or text (--path).",
    )
