from __future__ import annotations

import numpy as np
from nldisco_explorer.visited import plane_of, visited_part


def test_of_three_dimensions_the_two_that_reach_farthest_are_drawn_and_the_third_is_weighted_by_time() -> None:
    generator = np.random.default_rng(4)
    shape = (4, 3, 5)
    mean, spent = generator.random(shape), generator.random(shape)
    mean[generator.random(shape) < 0.3] = np.nan
    edges = (np.linspace(0, 2.0, 5), np.linspace(0, 0.1, 4), np.linspace(-1, 1.5, 6))
    kept, drawn, time = plane_of(mean.ravel(), spent.ravel(), edges)
    assert kept == (0, 2)
    for x in range(4):
        for z in range(5):
            seen = [y for y in range(3) if np.isfinite(mean[x, y, z])]
            expected = np.average(mean[x, seen, z], weights=spent[x, seen, z]) if seen else np.nan
            np.testing.assert_allclose(drawn[x, z], expected)
            np.testing.assert_allclose(time[x, z], spent[x, :, z].sum())


def test_two_dimensions_stay_as_they_are_and_one_is_a_row_of_cells() -> None:
    mean, spent = np.array([1.0, np.nan, 3.0, 4.0]), np.array([1.0, 0.0, 2.0, 1.0])
    kept, drawn, time = plane_of(mean, spent, (np.arange(3.0), np.arange(3.0)))
    assert kept == (0, 1)
    np.testing.assert_array_equal(drawn, [[1, np.nan], [3, 4]])
    np.testing.assert_array_equal(time, [[1, np.nan], [2, 1]])
    kept, drawn, _ = plane_of(mean, spent, (np.arange(5.0),))
    assert kept == (0,)
    assert drawn.shape == (4, 1)


def test_part_that_was_visited_keeps_its_borders() -> None:
    maps = np.full((5, 4), np.nan)
    maps[1:3, 2] = 1.0
    part, (xs, ys) = visited_part(maps, (np.arange(6.0), np.arange(5.0)))
    assert part.shape == (2, 1)
    np.testing.assert_array_equal(xs, [1, 2, 3])
    np.testing.assert_array_equal(ys, [2, 3])
