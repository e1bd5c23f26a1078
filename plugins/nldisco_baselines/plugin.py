"""What this plugin offers."""

from __future__ import annotations

from collections.abc import Iterator

from nldisco_core.hookspecs import hookimpl
from nldisco_core.providers import Provider


@hookimpl
def nldisco_latent_models() -> Iterator[Provider]:
    """Baselines every figure is shown beside."""
    yield Provider(
        name="pca",
        target="nldisco_baselines.linear:PCA",
        config="nldisco_baselines.config:PCAConfig",
        summary="Principal component analysis.",
    )
    yield Provider(
        name="nmf",
        target="nldisco_baselines.linear:NMF",
        config="nldisco_baselines.config:NMFConfig",
        summary="Non-negative matrix factorisation.",
    )
    yield Provider(
        name="nmf-omp",
        target="nldisco_baselines.nmf_pursuit:NMFOMP",
        config="nldisco_baselines.config:NMFOMPConfig",
        summary="NMF atoms coded by non-negative matching pursuit, at the same sparsity.",
    )
    yield Provider(
        name="ica",
        target="nldisco_baselines.linear:ICA",
        config="nldisco_baselines.config:ICAConfig",
        summary="Independent component analysis (FastICA).",
    )
    yield Provider(
        name="factor-analysis",
        target="nldisco_baselines.linear:FactorAnalysis",
        config="nldisco_baselines.config:FactorAnalysisConfig",
        summary="Factor analysis.",
    )
    yield Provider(
        name="learned-dictionary",
        target="nldisco_baselines.dictionary_learning:LearnedDictionary",
        config="nldisco_baselines.config:LearnedDictionaryConfig",
        summary="A dictionary learned for sparse codes, coded by orthogonal matching pursuit.",
    )
    yield Provider(
        name="units-omp",
        target="nldisco_baselines.pursuit:UnitsOMP",
        config="nldisco_baselines.config:UnitsOMPConfig",
        summary="Orthogonal matching pursuit on the units themselves, at the same sparsity.",
    )
    yield Provider(
        name="raw-units",
        target="nldisco_baselines.units:RawUnits",
        config="nldisco_baselines.config:RawUnitsConfig",
        summary="The recorded units as if they were latents.",
    )
