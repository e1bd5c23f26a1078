"""How a check fails, how it says that it does not apply, and how a list of checks is run."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

from nldisco_core.errors import ConfigError, unknown_name

__all__ = ["CheckResult", "ConformanceFailure", "Make", "NotApplicable", "expect", "run_checks"]

T = TypeVar("T")
Subject = TypeVar("Subject")

Make: TypeAlias = Callable[[Mapping[str, Any]], T]
"""A fresh object made with these settings, such as `nldisco_core.plugins.Listed.make`."""


class ConformanceFailure(AssertionError):
    """An implementation breaks a rule of its interface; says what was found, what was expected and what to do next."""


class NotApplicable(unittest.SkipTest):
    """The rule says nothing about this implementation; pytest reports it as skipped."""


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What one check found.

    Attributes
    ----------
    name : name of the check, without ``check_``
    status : ``expected`` stands for a failure that was announced with its reason
    reason : why it failed, was expected to fail or was skipped; empty for a check that passed
    """

    name: str
    status: Literal["passed", "failed", "skipped", "expected"]
    reason: str = ""

    @property
    def passed(self) -> bool:
        """False only for a failure that nobody announced."""
        return self.status != "failed"

    def __str__(self) -> str:
        return f"{self.name}: {self.status}" + (f": {self.reason}" if self.reason else "")


def expect(condition: object, failure: str) -> None:
    """Raise `ConformanceFailure` with this sentence unless the condition holds."""
    if not condition:
        raise ConformanceFailure(failure)


def run_checks(
    checks: Sequence[Callable[[Subject], None]], subject: Subject, *, expected_failures: Mapping[str, str] | None = None
) -> tuple[CheckResult, ...]:
    """Every check on the subject, each apart from the others.

    Parameters
    ----------
    expected_failures : reason by name of a check that is known to fail; one that passes after all is a failure

    Raises
    ------
    ConfigError
        An expected failure names no check.
    """
    announced = dict(expected_failures or {})
    names = [check.__name__.removeprefix("check_") for check in checks]
    for name in announced:
        if name not in names:
            raise ConfigError(f"expected failures: {unknown_name('check', name, names)}")
    return tuple(_result(name, check, subject, announced.get(name)) for name, check in zip(names, checks, strict=True))


def _result(name: str, check: Callable[[Subject], None], subject: Subject, announced: str | None) -> CheckResult:
    try:
        check(subject)
    except NotApplicable as skip:
        return CheckResult(name=name, status="skipped", reason=str(skip))
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a provider's code may fail in any way: each is a finding
        found = str(error) if isinstance(error, ConformanceFailure) else f"raised {type(error).__name__}: {error}"
        if announced is None:
            return CheckResult(name=name, status="failed", reason=found)
        return CheckResult(name=name, status="expected", reason=announced)
    if announced is None:
        return CheckResult(name=name, status="passed")
    return CheckResult(
        name=name, status="failed", reason=f"passes, but was expected to fail ({announced}); drop the expectation"
    )
