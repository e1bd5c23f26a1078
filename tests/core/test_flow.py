"""Flow of two latents in the plane of their activations."""

from __future__ import annotations

import numpy as np
import pytest

from nldisco_core.flow import flow_field


def test_a_rotation_flows_in_circles() -> None:
    turn = np.arange(4000) * 0.05
    one, other = np.cos(turn), np.sin(turn)
    found = flow_field(one, other, segments=np.zeros(4000, dtype=np.int32), bin_s=0.1, n_cells=8)
    x, y = ((edges[:-1] + edges[1:]) / 2 for edges in (found.x_edges, found.y_edges))
    seen = found.n_steps > 0
    expected_x, expected_y = -np.tile(y[:, None], 8)[seen] * 0.5, np.tile(x, (8, 1))[seen] * 0.5
    np.testing.assert_allclose(found.dx[seen], expected_x, atol=0.08)
    np.testing.assert_allclose(found.dy[seen], expected_y, atol=0.08)
    assert np.isnan(found.dx[~seen]).all()
    assert (~seen).any()


def test_cells_equal_a_plain_loop_and_steps_never_leave_a_stretch() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 300))
    segments = np.repeat(np.arange(30), 10).astype(np.int32)
    rows = rng.random(300) < 0.8
    found = flow_field(one, other, segments=segments, bin_s=0.05, rows=rows, skip=2, n_cells=5)
    steps: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for start in range(298):
        stop = start + 2
        if segments[start] != segments[stop] or not (rows[start] and rows[stop]):
            continue
        cell = tuple(
            min(int((values[start] - values[rows].min()) / np.ptp(values[rows]) * 5), 4) for values in (other, one)
        )
        steps.setdefault(cell, []).append(((one[stop] - one[start]) / 0.1, (other[stop] - other[start]) / 0.1))
    assert found.dt_s == pytest.approx(0.1)
    assert found.n_steps.sum() == sum(map(len, steps.values()))
    for cell, changes in steps.items():
        np.testing.assert_allclose((found.dx[cell], found.dy[cell]), np.mean(changes, axis=0), atol=1e-9)


def test_a_latent_that_never_changes_has_a_field_all_the_same() -> None:
    found = flow_field(np.zeros(20), np.arange(20.0), segments=np.zeros(20, dtype=np.int32), bin_s=1.0, n_cells=3)
    assert np.nansum(np.abs(found.dx)) == 0
    np.testing.assert_allclose(found.dy[found.n_steps > 0], 1.0)
