"""What this package offers."""

from __future__ import annotations

from collections.abc import Iterator

from nldisco_core.hookspecs import hookimpl
from nldisco_core.providers import Provider


@hookimpl
def nldisco_datasets() -> Iterator[Provider]:
    """The bundled recording."""
    yield Provider(
        name="head-direction",
        target="nldisco_datasets.head_direction:HeadDirection",
        summary="Mouse ADN and CA1, 15 units, sleep and wake with head direction and position (bundled, real).",
    )
