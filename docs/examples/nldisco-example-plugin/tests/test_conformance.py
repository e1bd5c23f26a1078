"""The three providers keep the rules of their interfaces, and do what they are for."""

from __future__ import annotations

import numpy as np
import pytest

from nldisco_core.conformance import check_provider
from nldisco_core.plugins import Kind, make, registry


@pytest.mark.parametrize(
    ("kind", "name"),
    [("dataset", "example-track"), ("model", "example-projection"), ("mapper", "example-correlation")],
)
def test_provider_conforms(kind: Kind, name: str) -> None:
    results = check_provider(registry().listed(kind, name))
    assert all(result.passed for result in results), "\n".join(map(str, results))


def test_units_fire_most_inside_their_fields() -> None:
    session = make("dataset", "example-track", {"duration_s": 600.0}).load("track-1")
    position = session.signals["position"]
    for unit, field_cm in enumerate(session.truth["field_cm"]):
        at_spikes = np.interp(session.spike_times[unit], position.times_s, position.values[:, 0])
        fired, spent = (np.mean(np.abs(visited - field_cm) < 12) for visited in (at_spikes, position.values[:, 0]))
        assert fired > 2 * spent
