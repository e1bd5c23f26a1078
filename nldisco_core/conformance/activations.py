"""Whether activations are sound, and whether two sets of them agree."""

from __future__ import annotations

import numpy as np

from nldisco_core.conformance.checks import expect
from nldisco_core.latents import Latents

__all__ = ["expect_same", "expect_sound"]


def expect_sound(latents: Latents) -> None:
    """Expect finite activations in every defined row, and none below zero in a nonnegative code."""
    for name, space in latents.spaces.items():
        for instance in range(space.n_instances):
            codes = space.dense(instance)
            codes = codes if space.defined is None else codes[space.defined]
            where = f"space {name!r}, instance {instance}"
            n_wrong = int((~np.isfinite(codes)).sum())
            expect(n_wrong == 0, f"{where}: {n_wrong} activations are not finite; expected numbers")
            lowest = codes.min(initial=0.0)
            signed = space.code_kind == "signed"
            expect(signed or lowest >= 0, f"{where}: a nonnegative code goes down to {lowest:g}; declare it signed")


def expect_same(found: Latents, expected: Latents, what: str, *, exact: bool = False) -> None:
    """Expect the same spaces, defined rows and non-zero activations, with equal values.

    Parameters
    ----------
    what : how `found` came about, for the message
    exact : bit for bit; otherwise to 1e-5 relative, and 1e-6 of the largest activation
    """
    expect(list(found.spaces) == list(expected.spaces), f"{what}: the spaces are {', '.join(found.spaces)}")
    for name, space in expected.spaces.items():
        other = found.spaces[name]
        shapes = [(part.n_instances, part.n_rows, part.n_latents) for part in (other, space)]
        expect(shapes[0] == shapes[1], f"{what}: space {name!r} is {shapes[0]}; expected {shapes[1]}")
        defined, other_defined = (
            np.ones(part.n_rows, dtype=bool) if part.defined is None else part.defined for part in (space, other)
        )
        expect(np.array_equal(defined, other_defined), f"{what}: other rows of space {name!r} are defined")
        for instance in range(space.n_instances):
            old, new = space.dense(instance)[defined], other.dense(instance)[defined]
            where = f"{what}: space {name!r}, instance {instance}"
            moved = int(((old != 0) != (new != 0)).sum())
            expect(moved == 0, f"{where}: {moved} activations appear or vanish; expected the same ones")
            gap = np.abs(new - old)
            allowed = 0.0 if exact else 1e-5 * np.abs(old) + 1e-6 * np.abs(old).max(initial=0.0)
            expect(
                (gap <= allowed).all(), f"{where}: activations move by up to {gap.max(initial=0):g}; expected none to"
            )
