"""Checks that any dataset, latent model, mapper, view or preset must pass.

A check is a plain function that takes the maker of the thing and raises `ConformanceFailure`, or `NotApplicable` where
the rule does not concern it (pytest reports that as skipped). `check_model` and its like run all checks of their kind,
and `check_provider` does so for an installed provider: one `CheckResult` each.
"""

from nldisco_core.conformance.checks import CheckResult, ConformanceFailure, NotApplicable
from nldisco_core.conformance.datasets import check_dataset
from nldisco_core.conformance.mappers import check_mapper
from nldisco_core.conformance.models import check_model
from nldisco_core.conformance.presets import check_preset
from nldisco_core.conformance.provider import check_provider
from nldisco_core.conformance.views import check_view

__all__ = [
    "CheckResult",
    "ConformanceFailure",
    "NotApplicable",
    "check_dataset",
    "check_mapper",
    "check_model",
    "check_preset",
    "check_provider",
    "check_view",
]
