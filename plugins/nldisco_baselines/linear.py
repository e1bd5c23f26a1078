"""PCA, ICA, factor analysis and NMF: latents that add up to the activity, fitted by scikit-learn."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import nnls
from sklearn import decomposition
from sklearn.exceptions import ConvergenceWarning

from nldisco_baselines.baseline import Baseline, Floats, Learned
from nldisco_baselines.config import FactorAnalysisConfig, ICAConfig, NMFConfig, PCAConfig
from nldisco_core.config import ModelConfig
from nldisco_core.errors import IncompatibleData
from nldisco_core.latents import CodeKind

__all__ = ["ICA", "NMF", "PCA", "FactorAnalysis"]

DEFAULT_N_LATENTS = 16

P = TypeVar("P", bound=PCAConfig)


class Components(NamedTuple):
    """A fitted decomposition: (n_units, n) encoder, (n, n_units) dictionary, steps of its solver."""

    encoder: Floats
    dictionary: Floats
    iterations: int | None


class _Projection(Baseline[P]):
    """Latents ``(x - mean) @ encoder``, reconstruction ``mean + latents @ dictionary``.

    Units that never vary are left out of the fit and get no weight. Latents beyond what the activity can support stay
    at zero, and a note says how many.
    """

    @abstractmethod
    def _decompose(self, centred: Floats, n_latents: int, seed: int) -> Components:
        """Fit `n_latents` components to centred activity, every unit of which varies."""

    def _kind_of_codes(self, activity: Floats) -> CodeKind:
        return "signed"

    def _learn(self, activity: Floats, seed: int) -> Learned:
        n_units = activity.shape[1]
        n_latents = self.config.n_latents or min(DEFAULT_N_LATENTS, n_units)
        if n_latents > n_units:
            raise IncompatibleData(
                f"{self.name} with {n_latents} latents needs as many units; the data hold {n_units}. "
                f"Set model.n_latents to {n_units} or fewer"
            )
        mean = activity.mean(axis=0)
        varying = np.ptp(activity, axis=0) > 0
        encoder, dictionary = np.zeros((n_units, n_latents)), np.zeros((n_latents, n_units))
        centred = activity[:, varying] - mean[varying]
        supported = min(n_latents, int(np.linalg.matrix_rank(_condensed(centred)))) if varying.any() else 0
        iterations, notes = None, []
        if supported:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", ConvergenceWarning)
                found = self._decompose(centred, supported, seed)
            encoder[varying, :supported], dictionary[:supported, varying] = found.encoder, found.dictionary
            iterations, notes = found.iterations, [str(warning.message) for warning in caught]
        if supported < n_latents:
            notes.append(f"{n_latents - supported} of {n_latents} latents stay at zero: the activity spans no more")
        weights = {"offset": mean, "encoder": encoder, "dictionary": dictionary}
        return Learned(weights=weights, iterations=iterations, notes=tuple(notes))

    def _encode(self, activity: Floats) -> NDArray[np.float32]:
        offset, encoder = self._weight("offset"), self._weight("encoder")
        codes = np.empty((len(encoder), len(activity), encoder.shape[2]), dtype=np.float32)
        for instance, projection in enumerate(encoder):
            # One vector-matrix product per row: the rounding of a matrix product depends on how many rows it has.
            codes[instance] = np.matmul((activity - offset[instance])[:, None, :], projection)[:, 0]
        return codes

    def _atoms(self) -> Floats:
        return self._weight("dictionary")


class PCA(_Projection[PCAConfig]):
    """Principal component analysis by singular value decomposition; dictionary rows are orthonormal."""

    name: ClassVar[str] = "pca"
    config_class: ClassVar[type[ModelConfig]] = PCAConfig

    def _decompose(self, centred: Floats, n_latents: int, seed: int) -> Components:
        fitted = decomposition.PCA(n_latents, svd_solver="full").fit(_condensed(centred))
        return Components(fitted.components_.T, fitted.components_, None)


class ICA(_Projection[ICAConfig]):
    """Independent component analysis: FastICA, latents of unit variance (Hyvärinen & Oja 2000)."""

    name: ClassVar[str] = "ica"
    config_class: ClassVar[type[ModelConfig]] = ICAConfig

    def _decompose(self, centred: Floats, n_latents: int, seed: int) -> Components:
        solver = decomposition.FastICA(
            n_latents, whiten="unit-variance", max_iter=self.config.max_iter, random_state=_sklearn_seed(seed)
        )
        with np.errstate(divide="ignore", invalid="ignore"):  # of directions beyond the rank, which it then drops
            fitted = solver.fit(centred)
        return Components(fitted.components_.T, fitted.mixing_.T, int(fitted.n_iter_))


class FactorAnalysis(_Projection[FactorAnalysisConfig]):
    """Factor analysis: posterior mean of Gaussian factors with a noise variance of its own for each unit.

    ``latents = (x - mean) Psi^-1 W' (I + W Psi^-1 W')^-1`` with loadings W (Bishop 2006, 12.66).
    """

    name: ClassVar[str] = "factor-analysis"
    config_class: ClassVar[type[ModelConfig]] = FactorAnalysisConfig

    def _decompose(self, centred: Floats, n_latents: int, seed: int) -> Components:
        rows = _condensed(centred)
        tol = 0.01 * len(rows) / len(centred)  # scikit-learn's 0.01 speaks of the log-likelihood summed over all bins
        solver = decomposition.FactorAnalysis(n_latents, tol=tol, svd_method="lapack", max_iter=self.config.max_iter)
        fitted = solver.fit(rows)
        loadings = fitted.components_
        weighted = loadings / fitted.noise_variance_
        posterior = np.linalg.solve(np.eye(n_latents) + weighted @ loadings.T, weighted)
        return Components(posterior.T, loadings, int(fitted.n_iter_))


class NMF(Baseline[NMFConfig]):
    """Non-negative matrix factorisation with dictionary rows of unit length.

    The latents of a bin are the non-negative least squares solution on the fitted dictionary (Lawson & Hanson 1974),
    solved for each bin by itself: scikit-learn's ``transform`` iterates over all bins together until their joint error
    settles, so that a bin's latents depend on the others. `IncompatibleData` for negative activity.
    """

    name: ClassVar[str] = "nmf"
    config_class: ClassVar[type[ModelConfig]] = NMFConfig

    def _kind_of_codes(self, activity: Floats) -> CodeKind:
        if activity.min() < 0:
            raise IncompatibleData(
                f"nmf takes activity >= 0; found {activity.min():.3g}. Set preprocess.normalise to none, global-max, "
                "unit-max or sqrt, or choose pca or ica"
            )
        return "nonnegative"

    def _learn(self, activity: Floats, seed: int) -> Learned:
        n_units = activity.shape[1]
        n_latents = self.config.n_latents or min(DEFAULT_N_LATENTS, n_units)
        silent = np.zeros((n_latents, n_units))
        if not activity.any():
            note = "all latents stay at zero: no unit is active"
            return Learned(weights={"offset": np.zeros(n_units), "dictionary": silent}, notes=(note,))
        solver = decomposition.NMF(
            n_latents, init="random", max_iter=self.config.max_iter, random_state=_sklearn_seed(seed)
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            fitted = solver.fit(activity)
        lengths = np.linalg.norm(fitted.components_, axis=1, keepdims=True)
        dictionary = np.divide(fitted.components_, lengths, out=silent, where=lengths > 0)
        return Learned(
            weights={"offset": np.zeros(n_units), "dictionary": dictionary},
            iterations=int(fitted.n_iter_),
            notes=tuple(str(warning.message) for warning in caught),
        )

    def _encode(self, activity: Floats) -> tuple[sparse.csc_array, ...] | NDArray[np.float32]:
        atoms = self._atoms()
        codes = np.zeros((len(atoms), len(activity), atoms.shape[1]), dtype=np.float32)
        active = np.flatnonzero(activity.any(axis=1))
        for instance, dictionary in enumerate(atoms):
            basis = np.ascontiguousarray(dictionary.T)
            for row in active:
                codes[instance, row] = nnls(basis, activity[row], maxiter=100 * len(dictionary))[0]
        return codes

    def _atoms(self) -> Floats:
        return self._weight("dictionary")


def _condensed(centred: Floats) -> Floats:
    """Rows with the mean, zero, and the covariance of many more rows: two for each unit, from a QR decomposition."""
    triangle = np.asarray(np.linalg.qr(centred, mode="r"), dtype=np.float64)
    both: Floats = np.concatenate([triangle, -triangle])
    return both * float(np.sqrt(len(triangle) / len(centred)))


def _sklearn_seed(seed: int) -> int:
    """A seed in scikit-learn's range of 32 bits, another one for every seed."""
    return int(np.random.SeedSequence(seed).generate_state(1)[0])
