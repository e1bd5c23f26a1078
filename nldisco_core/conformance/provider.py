"""The checks of a provider's kind, run on the provider as it is installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nldisco_core.conformance.checks import CheckResult
from nldisco_core.conformance.datasets import check_dataset
from nldisco_core.conformance.mappers import check_mapper
from nldisco_core.conformance.models import check_model
from nldisco_core.conformance.presets import check_preset
from nldisco_core.conformance.views import check_view
from nldisco_core.errors import PluginLoadError
from nldisco_core.plugins import Listed
from nldisco_core.providers import Preset

if TYPE_CHECKING:
    from nldisco_core.runs import Run

__all__ = ["check_provider"]


def check_provider(
    listed: Listed,
    settings: Mapping[str, Any] | None = None,
    *,
    run: Run | None = None,
    bare_run: Run | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> tuple[CheckResult, ...]:
    """Run every check of the provider's kind.

    Parameters
    ----------
    settings : the provider is checked as made with these: where its files are, or what makes it quick
    run, bare_run : for views: a run with everything, and one that was never mapped; without them views are skipped
    expected_failures : reason by name of a check that is known to fail

    Raises
    ------
    ConfigError
        The provider does not take these settings, or lacks some it needs.
    """
    if isinstance(listed.provider, Preset):
        return check_preset(listed.provider, expected_failures=expected_failures)
    own = dict(settings or {})
    try:
        listed.make(own)
    except PluginLoadError as error:
        return (CheckResult(name="loads", status="failed", reason=str(error)),)

    def make(overrides: Mapping[str, Any]) -> Any:
        return listed.make({**own, **overrides})

    if listed.kind == "dataset":
        return check_dataset(make, expected_failures=expected_failures)
    if listed.kind == "model":
        return check_model(make, expected_failures=expected_failures)
    if listed.kind == "mapper":
        return check_mapper(make, expected_failures=expected_failures)
    if run is None or bare_run is None:
        return (CheckResult(name="builds", status="skipped", reason="views are checked on runs; none was given"),)
    return check_view(make, run=run, bare_run=bare_run, expected_failures=expected_failures)
