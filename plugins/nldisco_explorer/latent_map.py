"""Where latents lie beside each other, by the units they point at or by when they are active, and what colours them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from nldisco_core.errors import DataError
from nldisco_explorer.perievent import spoken

if TYPE_CHECKING:
    from nldisco_core.selection import Selection
    from nldisco_explorer.readings import Readings

__all__ = ["METHODS", "LatentMap", "Scores", "latent_map", "score_names", "scores"]

SEED = 0
MOST_BINS = 10_000
HAS_UMAP = find_spec("umap") is not None
METHODS = ("PCA", "t-SNE", *(("UMAP",) if HAS_UMAP else ()))
"""PCA is drawn when a page opens; the others take seconds and are asked for."""

PLAIN_SCORES = ("density", "level")

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentMap:
    """Latents on a plane.

    Attributes
    ----------
    places : (n_latents, 2), NaN for latents that point nowhere or never vary
    axes : what the axes are called
    basis : what was compared
    """

    places: Floats
    axes: tuple[str, str]
    basis: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """One number or label per latent.

    Attributes
    ----------
    name : what it is
    values : (n_latents,), NaN where a latent has none; codes into `labels` where there are some
    labels : names of categories, empty for numbers
    """

    name: str
    values: Floats
    labels: tuple[str, ...] = ()


_umap_alone = Lock()
"""The threads that UMAP starts by itself end the process where two of them are at work at once."""

_kept: WeakKeyDictionary[Readings, dict[tuple[str, int, str], LatentMap]] = WeakKeyDictionary()


def latent_map(reads: Readings, model: str, instance: int, method: str = "PCA") -> LatentMap:
    """The map of one instance, made when first asked for and then kept.

    Rows of the decoder at unit length where the model has one, else each latent's correlations with all others over at
    most 10,000 evenly spaced bins.

    Raises
    ------
    DataError
        Fewer than three latents point anywhere.
    """
    made = _kept.setdefault(reads, {})
    key = (model, instance, method)
    if key not in made:
        made[key] = _made(reads, *key)
    return made[key]


def is_kept(reads: Readings, model: str, instance: int, method: str) -> bool:
    """Whether that map was made already."""
    return (model, instance, method) in _kept.get(reads, {})


def _made(reads: Readings, model: str, instance: int, method: str) -> LatentMap:
    vectors, basis = _vectors(reads, model, instance)
    known = np.isfinite(vectors).all(axis=1)
    if known.sum() < 3:
        raise DataError(f"{int(known.sum())} latents of {model} point anywhere; a map needs at least 3")
    places = np.full((len(vectors), 2), np.nan)
    axes = (f"{method} 1", f"{method} 2")
    if method == "PCA":
        pca = PCA(n_components=2, random_state=SEED).fit(vectors[known])
        places[known] = pca.transform(vectors[known])
        axes = tuple(f"PC {i + 1} ({share:.0%} of variance)" for i, share in enumerate(pca.explained_variance_ratio_))  # type: ignore[assignment]  # two of them
    elif method == "UMAP":
        from umap import UMAP  # type: ignore[import-not-found]  # optional, and without types

        with _umap_alone:
            places[known] = UMAP(n_components=2, metric="cosine", random_state=SEED).fit_transform(vectors[known])
    else:
        perplexity = min(30.0, (int(known.sum()) - 1) / 3)
        tsne = TSNE(perplexity=perplexity, init="pca", metric="euclidean", random_state=SEED)
        places[known] = tsne.fit_transform(vectors[known].astype(np.float32))
    return LatentMap(places=places, axes=axes, basis=basis)


def _vectors(reads: Readings, model: str, instance: int) -> tuple[Floats, str]:
    dictionary = reads.run.part(model).dictionary
    if dictionary is not None:
        rows = dictionary.values[instance].reshape(dictionary.values.shape[1], -1).astype(np.float64)
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.divide(rows, length, out=np.full(rows.shape, np.nan), where=length > 0), "decoder weights"
    space, defined = reads.space(model), np.flatnonzero(reads.defined(model))
    bins = defined[:: max(-(-len(defined) // MOST_BINS), 1)]
    codes = space.csr(instance)[bins].toarray() if space.is_sparse else space.dense(instance)[bins]
    varies = codes.std(axis=0) > 0
    correlation = np.full((codes.shape[1], int(varies.sum())), np.nan)
    correlation[varies] = np.corrcoef(codes[:, varies], rowvar=False)
    return correlation, "correlations of activations"


def score_names(reads: Readings, selection: Selection) -> tuple[str, ...]:
    """What a map can be coloured by: density, level, and every score of the selected mapping."""
    plain = [name for name in PLAIN_SCORES if name != "level" or reads.space(selection.model).n_levels > 1]
    table = _table(reads, selection)
    hidden = ("instance", "latent", "sign", "n_conditions")
    found = [name for name in table if name not in hidden and (_is_number(table[name]) or name == "preferred")]
    return (*plain, *(name for name in found if table[name].notna().any()))


def scores(reads: Readings, selection: Selection, name: str) -> Scores:
    """One score of all latents of the selected instance."""
    space = reads.space(selection.model)
    if name == "density":
        return Scores(name=name, values=reads.density(selection.model)[selection.instance])
    if name == "level":
        labels = tuple(f"level {i + 1}" for i in range(space.n_levels))
        return Scores(name=name, values=space.level_of_latent.astype(np.float64), labels=labels)
    table = _table(reads, selection)
    rows = table[(table["instance"] == selection.instance) & (table["sign"] == selection.sign)]
    column = rows[name]
    labels = ()
    if not _is_number(column):
        codes, unique = pd.factorize(column, sort=True)
        column, labels = pd.Series(np.where(codes < 0, np.nan, codes), index=rows.index), tuple(map(str, unique))
    values = np.full(space.n_latents, np.nan)
    values[rows["latent"].to_numpy(np.int64)] = column.astype("Float64").to_numpy(np.float64, na_value=np.nan)
    return Scores(name=f"{spoken(name)} ({spoken(selection.variable or '')})", values=values, labels=labels)


def _table(reads: Readings, selection: Selection) -> pd.DataFrame:
    if selection.mapper is None or not reads.is_mapped(selection.model, selection.mapper):
        return pd.DataFrame({"instance": [], "latent": [], "sign": []})
    return reads.scored(selection.model, selection.mapper).whole(selection.variable, selection.split)


def _is_number(column: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column)) and not pd.api.types.is_bool_dtype(column)
