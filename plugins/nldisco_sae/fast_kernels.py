"""What the fast training step on CPUs compiles, and its first loops: encode, find the cutoffs, select.

Each loop works on a range of rows or latents that it alone writes. Importing this module imports numba. Compiled code
is cached beside the module or in the user's cache folder. Loops keep their bodies free of slices: making one costs as
much as a hundred multiplications. An index that may look negative to the compiler is unsigned: otherwise it is checked
at every turn, one number at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Entries",
    "Floats",
    "Integers",
    "Moments",
    "Sets",
    "choose_entries",
    "encode_rows",
    "encoder_offset",
    "four",
    "gather_rows",
    "kernel",
    "kth_largest",
]

F = TypeVar("F", bound=Callable[..., Any])
Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


class Entries(NamedTuple):
    """Activations of a batch that may be selected, then those that are: row after row, in a row set after set.

    Attributes
    ----------
    latent, value, bucket, slope : (n_rows·n_latents,) latent, activation, set of levels, gradient of the activation; a
        chunk of rows fills its part from the front
    start, stop : (n_rows,) where each row's entries begin and end
    edges : (n_rows, n_sets) where each set's entries of a row end
    """

    latent: NDArray[np.int32]
    value: Floats
    bucket: NDArray[np.uint8]
    slope: Floats
    start: Integers
    stop: Integers
    edges: Integers


class Sets(NamedTuple):
    """The sets of levels ("buckets") that can select an activation, numbered.

    Attributes
    ----------
    group : (n_latents,) first level with that latent
    lookup : (n_levels, n_levels + 1) number of the set, by a latent's group and by how many levels select it
    members : (n_sets, n_levels) levels of each set
    """

    group: NDArray[np.uint8]
    lookup: NDArray[np.uint8]
    members: NDArray[np.bool_]


class Moments(NamedTuple):
    """A trained array of one instance with Adam's two moments, all of the same shape."""

    parameter: Floats
    mean: Floats
    square: Floats


def kernel(function: F) -> F:
    """Compile without the interpreter's lock; sums may be reordered, but NaN and infinity stay what they are."""
    settings: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
    try:
        compiled: F = numba.njit(cache=True, **settings)(function)
    except RuntimeError:  # no folder that a cache can be written to
        compiled = numba.njit(**settings)(function)
    return compiled


@kernel
def four(places: NDArray[np.int32], values: Floats, i: int, end: int) -> tuple[Any, ...]:
    """Four entries from i on; beyond the end the last place again, with the value 0."""
    j1, j2, j3 = min(i + 1, end - 1), min(i + 2, end - 1), min(i + 3, end - 1)
    zero = np.float32(0)
    v1, v2, v3 = values[j1] if j1 > i else zero, values[j2] if j2 > j1 else zero, values[j3] if j3 > j2 else zero
    return places[i], places[j1], places[j2], places[j3], values[i], v1, v2, v3


@kernel
def encoder_offset(encoder: Floats, bias: Floats, input_mean: Floats) -> Floats:
    """(n_latents,) b_enc - b_pre W_enc; encoder (n_inputs, n_latents)."""
    offset = bias.copy()
    for column in range(encoder.shape[0]):
        for latent in range(encoder.shape[1]):
            offset[latent] -= input_mean[column] * encoder[column, latent]
    return offset


@kernel
def gather_rows(flat: Floats, stride: int, places: Integers, first: int, last: int, table: Floats) -> None:
    """Fill table[first:last]: row i is the run of `flat` that begins at ``places[i]·stride``."""
    for row in range(first, last):
        begin = np.uint64(places[row] * stride)
        for column in range(table.shape[1]):
            table[row, column] = flat[begin + np.uint64(column)]


@kernel
def encode_rows(
    flat: Floats,
    stride: int,
    places: Integers,
    encoder: Floats,
    offset: Floats,
    level_sizes: Integers,
    lowest: Floats,
    first: int,
    last: int,
    x: Floats,
    entries: Entries,
) -> None:
    """Fill x[first:last] with the rows' inputs, and entries with their pre-activations of at least `lowest`.

    Four rows and four inputs at a time, so that sums stay in registers; inputs that are 0 in all four rows are skipped.
    Where none is, this takes as long as the matrix product of a BLAS.

    Parameters
    ----------
    flat, stride, places : row i of the batch is the run of `flat` that begins at ``places[i]·stride``
    encoder : (n_inputs·n_latents,) flattened
    offset : (n_latents,) b_enc - b_pre W_enc
    level_sizes, lowest : (n_levels,) size, and smallest value kept among the latents that a level adds
    """
    latent_at, value_at, _, _, starts, stops, _ = entries
    n_inputs, n_latents = x.shape[1], offset.shape[0]
    sums = np.empty((4, n_latents + 80), np.float32)  # rows a power of two apart would compete for the same cache lines
    lines = np.empty(n_inputs + 3, np.uint64)
    inputs = np.empty((4, n_inputs + 3), np.float32)
    width = np.uint64(n_latents)
    n_found = first * n_latents
    for block in range(first, last, 4):
        n_block = min(4, last - block)
        for r in range(n_block):
            begin = np.uint64(places[block + r] * stride)
            for column in range(n_inputs):
                x[block + r, column] = flat[begin + np.uint64(column)]
        n_active = 0
        for column in range(n_inputs):
            active = False
            for r in range(4):
                value = x[block + r, column] if r < n_block else np.float32(0)
                inputs[r, n_active] = value
                active |= value != 0
            lines[n_active] = np.uint64(column) * width
            n_active += active
        for extra in range(n_active, n_active + 3):
            lines[extra] = 0
            for r in range(4):
                inputs[r, extra] = 0
        for r in range(4):
            for j in range(n_latents):
                sums[r, j] = offset[j]
        for q in range(0, n_active, 4):
            p0, p1, p2, p3 = lines[q], lines[q + 1], lines[q + 2], lines[q + 3]
            a0, a1, a2, a3 = inputs[0, q], inputs[0, q + 1], inputs[0, q + 2], inputs[0, q + 3]
            b0, b1, b2, b3 = inputs[1, q], inputs[1, q + 1], inputs[1, q + 2], inputs[1, q + 3]
            c0, c1, c2, c3 = inputs[2, q], inputs[2, q + 1], inputs[2, q + 2], inputs[2, q + 3]
            d0, d1, d2, d3 = inputs[3, q], inputs[3, q + 1], inputs[3, q + 2], inputs[3, q + 3]
            for j in range(n_latents):
                latent = np.uint64(j)
                w0, w1, w2, w3 = encoder[p0 + latent], encoder[p1 + latent], encoder[p2 + latent], encoder[p3 + latent]
                sums[0, j] += a0 * w0 + a1 * w1 + a2 * w2 + a3 * w3
                sums[1, j] += b0 * w0 + b1 * w1 + b2 * w2 + b3 * w3
                sums[2, j] += c0 * w0 + c1 * w1 + c2 * w2 + c3 * w3
                sums[3, j] += d0 * w0 + d1 * w1 + d2 * w2 + d3 * w3
        for r in range(n_block):
            starts[block + r] = n_found
            smaller = 0
            for level in range(level_sizes.shape[0]):
                limit = lowest[level]
                for j in range(smaller, level_sizes[level]):
                    if not sums[r, j] < limit:  # NaN is kept, so that the loss shows it
                        latent_at[n_found] = j
                        value_at[n_found] = sums[r, j]
                        n_found += 1
                smaller = level_sizes[level]
            stops[block + r] = n_found


@kernel
def kth_largest(bits: NDArray[np.int32], latent: NDArray[np.int32], ranges: Integers, size: int, k: int) -> int:
    """Bits of the k-th largest positive value among latents below `size`; 0 where there are fewer.

    Bits of positive floats ascend with their value: three histograms of 11, 10 and 10 bits narrow it down.

    Parameters
    ----------
    bits, latent : float32 values seen as integers, and the latent of each
    ranges : (n_ranges, 2) first and last entry of each part
    """
    histogram = np.zeros(2048, np.int64)
    prefix, wanted = 0, k
    for shift, above in ((20, 31), (10, 20), (0, 10)):
        histogram[:] = 0
        for part in range(ranges.shape[0]):
            for i in range(ranges[part, 0], ranges[part, 1]):
                pattern = bits[i] & 0x7FFFFFFF
                if latent[i] < size and pattern >> above == prefix >> above:
                    histogram[(pattern >> shift) & 2047 if shift == 20 else (pattern >> shift) & 1023] += 1
        digit = 2047
        while digit >= 0 and histogram[digit] < wanted:
            wanted -= histogram[digit]
            digit -= 1
        if digit < 0:
            return 0
        prefix |= digit << shift
    return prefix


@kernel
def choose_entries(
    first: int, last: int, cutoffs: Floats, sets: Sets, entries: Entries, counts: NDArray[np.int32]
) -> None:
    """Keep, of the entries of rows first to last, those that some level selects, brought in the order of their sets.

    Parameters
    ----------
    cutoffs : (n_levels,) smallest value that each level selects
    counts : (n_latents,) rows with each latent active at the deepest level, added to
    """
    latent_at, value_at, bucket_at, slope_at, starts, stops, edges = entries
    group, lookup, members = sets
    n_sets, n_levels = members.shape
    chosen = np.empty(group.shape[0], np.int32)
    values = np.empty(group.shape[0], np.float32)
    buckets = np.empty(group.shape[0], np.uint8)
    places = np.empty(n_sets, np.int64)
    kept = starts[first] if first < last else 0
    for row in range(first, last):
        n_chosen = 0
        places[:] = 0
        for i in range(starts[row], stops[row]):
            latent, value = latent_at[i], value_at[i]
            n_passed = 0
            for level in range(group[latent], n_levels):
                n_passed += not value < cutoffs[level]
            if n_passed:
                bucket = lookup[group[latent], n_passed]
                counts[latent] += members[bucket, n_levels - 1]
                places[bucket] += 1
                chosen[n_chosen], values[n_chosen], buckets[n_chosen] = latent, value, bucket
                n_chosen += 1
        starts[row] = kept
        for bucket in range(n_sets):
            n_here = places[bucket]
            places[bucket] = kept
            kept += n_here
            edges[row, bucket] = kept
        stops[row] = kept
        for i in range(n_chosen):
            place = places[buckets[i]]
            places[buckets[i]] += 1
            latent_at[place], value_at[place], bucket_at[place] = chosen[i], values[i], buckets[i]
            slope_at[place] = 0
