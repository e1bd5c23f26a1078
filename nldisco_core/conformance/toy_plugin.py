"""Offers the toys, for checks and tests: ``registry().add("toys", toy_plugin, …)`` or ``nldisco --plugin``."""

from __future__ import annotations

from collections.abc import Iterator

from nldisco_core.hookspecs import hookimpl
from nldisco_core.providers import Provider


@hookimpl
def nldisco_datasets() -> Iterator[Provider]:
    """Simulated heading cells."""
    yield Provider(
        name="toy",
        target="nldisco_core.conformance.toy_dataset:ToyDataset",
        config="nldisco_core.conformance.toy_dataset:ToyConfig",
        summary="Simulated heading cells, for checks and tests.",
    )


@hookimpl
def nldisco_latent_models() -> Iterator[Provider]:
    """A model that looks the true heading up."""
    yield Provider(
        name="toy-look-up",
        target="nldisco_core.conformance.toy_label_model:LookUp",
        config="nldisco_core.conformance.toy_label_model:LookUpConfig",
        summary="Looks up the true heading at transform, for checks and tests.",
    )
