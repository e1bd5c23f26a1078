"""What this plugin offers."""

from __future__ import annotations

from collections.abc import Iterator

from nldisco_core.hookspecs import hookimpl
from nldisco_core.providers import Provider


@hookimpl
def nldisco_datasets() -> Iterator[Provider]:
    """Any NWB 2 file."""
    yield Provider(
        name="nwb",
        target="nldisco_nwb.dataset:NWBDataset",
        config="nldisco_nwb.config:NWBConfig",
        summary="One NWB 2 file, or a folder of them (--path).",
    )
