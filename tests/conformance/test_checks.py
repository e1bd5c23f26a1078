"""Running checks: each apart, status told apart, announced failures with their reason."""

from __future__ import annotations

import pytest

from nldisco_core.conformance import CheckResult, ConformanceFailure, NotApplicable
from nldisco_core.conformance.checks import expect, run_checks
from nldisco_core.errors import ConfigError


def check_good(subject: list[str]) -> None:
    subject.append("good")


def check_bad(subject: list[str]) -> None:
    expect(False, "found 3; expected 4; count again")


def check_crash(subject: list[str]) -> None:
    raise ZeroDivisionError("division by zero")


def check_exit(subject: list[str]) -> None:
    raise SystemExit(2)


def check_foreign(subject: list[str]) -> None:
    raise NotApplicable("it has no trials")


CHECKS = (check_bad, check_crash, check_exit, check_foreign, check_good)


def test_each_check_runs_whatever_the_others_do() -> None:
    seen: list[str] = []
    results = run_checks(CHECKS, seen)
    assert seen == ["good"]
    assert results == (
        CheckResult(name="bad", status="failed", reason="found 3; expected 4; count again"),
        CheckResult(name="crash", status="failed", reason="raised ZeroDivisionError: division by zero"),
        CheckResult(name="exit", status="failed", reason="raised SystemExit: 2"),
        CheckResult(name="foreign", status="skipped", reason="it has no trials"),
        CheckResult(name="good", status="passed"),
    )
    assert [result.passed for result in results] == [False, False, False, True, True]
    assert str(results[3]) == "foreign: skipped: it has no trials"


def test_an_announced_failure_keeps_its_reason() -> None:
    (result,) = run_checks([check_bad], [], expected_failures={"bad": "the source has three"})
    assert result == CheckResult(name="bad", status="expected", reason="the source has three")
    assert result.passed


def test_an_announced_failure_that_passes_is_a_failure() -> None:
    (result,) = run_checks([check_good], [], expected_failures={"good": "it was broken"})
    assert not result.passed
    assert "passes, but was expected to fail (it was broken)" in result.reason


def test_an_announced_failure_of_no_check_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown check 'god'; did you mean 'good'"):
        run_checks(CHECKS, [], expected_failures={"god": "?"})


def test_a_failure_is_an_assertion_and_an_inapplicable_rule_a_skip() -> None:
    with pytest.raises(AssertionError):
        check_bad([])
    assert issubclass(ConformanceFailure, AssertionError)
    with pytest.raises(NotApplicable):
        check_foreign([])
